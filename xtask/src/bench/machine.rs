//! On what the figures were taken.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::command;
use crate::error::Result;

/// Facts that decide the figures.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// UTC, as it stands in a file's name.
    pub date: String,
    /// The checkout's commit; `+` when it has changes.
    pub commit: String,
    /// Model of the processor.
    pub cpu: String,
    /// Processors that a program can use.
    pub cores: usize,
    /// System and its version.
    pub os: String,
    /// Load averages at the start: 1, 5 and 15 minutes.
    pub load_average: String,
    /// The compiler.
    pub rustc: String,
    /// talkied's version.
    pub talkied: String,
    /// What talkied is measured against.
    pub reference: String,
}

impl Machine {
    /// Asks the system. What it does not tell is `unknown`.
    pub fn look(root: &Path) -> Result<Self> {
        let ask = |program: &str, args: &[&str]| {
            let text = command::output(Command::new(program).args(args).current_dir(root));
            text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
        };
        let changed = !ask("git", &["status", "--porcelain"]).is_empty();
        let mac = cfg!(target_os = "macos");
        Ok(Self {
            date: command::output(Command::new("date").args(["-u", "+%Y-%m-%dT%H%M%SZ"]))?.trim().to_owned(),
            commit: ask("git", &["rev-parse", "--short", "HEAD"]) + if changed { "+" } else { "" },
            cpu: if mac { ask("sysctl", &["-n", "machdep.cpu.brand_string"]) } else { linux_cpu() },
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: ask("uname", &["-srm"]),
            load_average: if mac { ask("sysctl", &["-n", "vm.loadavg"]) } else { linux_load() },
            rustc: ask("rustc", &["--version"]),
            talkied: String::new(),
            reference: String::new(),
        })
    }
}

fn linux_cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned())
}

fn linux_load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split_whitespace().take(3).collect();
    if averages.is_empty() { "unknown".to_owned() } else { averages.join(" ") }
}
