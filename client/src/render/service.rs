//! The service: what was done, what would be done, and how it stands.
//!
//! Called by the commands.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use talkiectl::service::{Job, Manager, Service, Status, Step};

use super::{GREEN, NONE, YELLOW, printable};

/// What a command has done.
#[derive(Debug, Serialize)]
pub struct Done {
    manager: Manager,
    changed: bool,
    /// Where models are left, the program that runs, or nothing more to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<PathBuf>,
    #[serde(skip)]
    words: String,
    #[serde(skip)]
    unchanged: &'static str,
}

impl Done {
    fn new(service: &Service, words: String, unchanged: &'static str) -> Self {
        let (models, program, socket) = (None, None, None);
        Self { manager: service.manager, changed: true, models, program, socket, words, unchanged }
    }

    /// `install`.
    pub fn installed(service: &Service, job: &Job) -> Self {
        let files: Vec<String> = service.paths().iter().map(|path| path.display().to_string()).collect();
        let name = service.manager.name();
        let words = format!(
            "talkied is installed as a service: {name} listens on {} and starts {} at login\nwritten:\n  {}",
            job.socket.display(),
            job.program.display(),
            files.join("\n  ")
        );
        let unchanged = "talkied is installed as a service already: nothing was changed";
        let done = Self::new(service, words, unchanged);
        Self { program: Some(job.program.clone()), socket: Some(job.socket.clone()), ..done }
    }

    /// `uninstall`.
    pub fn uninstalled(service: &Service, models: &Path) -> Self {
        let words = format!(
            "talkied is no service any more; its models are still in {}\nuntil it is installed again talkiectl starts it on demand",
            models.display()
        );
        let done = Self::new(service, words, "talkied is not installed as a service: nothing was changed");
        Self { models: Some(models.to_path_buf()), ..done }
    }

    /// `start`.
    pub fn started(service: &Service) -> Self {
        Self::new(service, "talkied is started".into(), "talkied runs already")
    }

    /// `stop`.
    pub fn stopped(service: &Service) -> Self {
        let words = format!("talkied has stopped, and {} listens no more until the next start", service.manager.name());
        Self::new(service, words, "talkied does not run")
    }

    /// `restart`.
    pub fn restarted(service: &Service) -> Self {
        Self::new(service, "talkied is started anew".into(), "talkied runs already")
    }

    /// Whether there was anything to do.
    pub fn changed(self, changed: bool) -> Self {
        Self { changed, ..self }
    }
}

/// What was done, or that there was nothing to do.
pub fn done(done: &Done) -> String {
    let words = if done.changed { &done.words } else { done.unchanged };
    words.lines().map(|line| printable(line) + "\n").collect()
}

/// `--dry-run`.
pub fn steps(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "nothing is to be done\n".into();
    }
    let mut text = String::new();
    for step in steps {
        let _ = writeln!(text, "{}", printable(&step.words()));
        if let Step::Write(file) = step {
            for line in file.text.lines() {
                let _ = writeln!(text, "  | {}", printable(line));
            }
        }
    }
    text
}

/// `status`.
pub fn status(status: &Status) -> String {
    let path = |path: &Option<PathBuf>| path.as_ref().map_or(NONE.into(), |path| path.display().to_string());
    let installed = match (status.installed, status.current) {
        (true, true) => "yes".into(),
        (true, false) => format!("{YELLOW}yes, but not as this version does it{YELLOW:#}"),
        (false, _) => "no".into(),
    };
    let version = status.version.as_ref().map_or(String::new(), |version| format!(" ({version})"));
    let running = match (status.pid, &status.running_version) {
        (Some(pid), Some(version)) => format!("{GREEN}yes{GREEN:#}, as process {pid}, version {version}"),
        (Some(pid), None) => format!("{GREEN}yes{GREEN:#}, as process {pid}"),
        (None, _) => "no".into(),
    };
    let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
    let mut rows = vec![
        ("manager", status.manager.name().to_owned()),
        ("installed", installed),
        ("listens", yes(status.listens)),
        ("at login", status.at_login.map_or(NONE.into(), yes)),
        ("running", running),
        ("last end", status.last_end.clone().unwrap_or(NONE.into())),
        ("program", path(&status.program) + &version),
        ("socket", path(&status.socket)),
    ];
    rows.extend(status.files.iter().map(|file| ("file", file.display().to_string())));
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<11}{value}");
    }
    for problem in &status.problems {
        let _ = writeln!(text, "{YELLOW}problem{YELLOW:#}    {}", printable(problem));
    }
    text
}
