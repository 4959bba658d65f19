//! Reports of what broke: a panic, an engine ended by a signal, a daemon that ended without a word. One file each in the
//! home's `crashes/`, for people, and for `talkiectl doctor`.
//!
//! A report never has prompts, answers or keys. So the words of a panic are only told where they stand in the program's
//! text: others are made of data, such as the text in whose middle of a character somebody cut. Writing one is best
//! effort: nothing waits for it that serves, and what fails is logged.

mod marker;
mod panic;

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bounded;
use crate::private;
use crate::telemetry;
pub use marker::Marker;
pub use panic::watch as watch_panics;

/// Reports that are kept, the newest.
const KEPT: usize = 20;

/// Longest body, in bytes.
const LONGEST: usize = 64 << 10;

/// Lines of the log in a report, and what is read of the log to find them.
const LINES: usize = 60;
const TAIL: u64 = 16 << 10;

/// What broke once is not reported again so soon: what breaks at each request would drive all other reports out.
const AGAIN: Duration = Duration::from_hours(1);

/// Things that are told apart for that; with more, one is forgotten.
const TOLD: usize = 64;

/// Where reports go.
#[derive(Debug, Clone)]
pub struct Reports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    log: PathBuf,
    started: jiff::Timestamp,
    /// When what was last reported. Held to look and note alone; never waited for, since a panic may hold it.
    told: Mutex<HashMap<String, Instant>>,
}

/// One thing that broke.
#[derive(Debug)]
pub struct Report {
    /// One word for the file's name: `panic`, `engine`, `daemon`.
    pub kind: &'static str,
    /// One line: what ended, and how.
    pub what: String,
    /// A heading for `body`.
    pub heading: &'static str,
    /// A backtrace, or what was said last.
    pub body: String,
}

impl Reports {
    /// Those of a home.
    pub fn new(home: &Path) -> Self {
        Self(Arc::new(Inner {
            folder: home.join("crashes"),
            log: telemetry::log_path(home),
            started: jiff::Timestamp::now(),
            told: Mutex::default(),
        }))
    }

    /// Writes a report, unless the same was reported within the hour, and removes the oldest. Blocks on the disk.
    pub fn write(&self, report: &Report) {
        if !self.is_news(&report.what) {
            return;
        }
        let now = jiff::Timestamp::now();
        let name = format!("{}-{}-{}.txt", now.strftime("%Y%m%dT%H%M%S%3fZ"), report.kind, std::process::id());
        let path = self.0.folder.join(name);
        match private::write(&path, self.text(report, now).as_bytes()) {
            Ok(()) => tracing::error!(report = %path.display(), "{}", report.what),
            Err(error) => tracing::error!(%error, path = %path.display(), "no report of it: {}", report.what),
        }
        self.prune();
    }

    /// The last lines of the log. It has no prompts, answers or keys.
    pub fn log_tail(&self) -> String {
        last_lines(&self.0.log).unwrap_or_default()
    }

    fn text(&self, report: &Report, now: jiff::Timestamp) -> String {
        let system = rustix::system::uname();
        let mut text = format!("what: {}\nwhen: {now:.0}\n", report.what.replace('\n', " "));
        let version = env!("CARGO_PKG_VERSION");
        let (pid, started) = (std::process::id(), self.0.started);
        let (name, release) = (system.sysname().to_string_lossy(), system.release().to_string_lossy());
        // Writing to a text cannot fail.
        let _ = writeln!(text, "daemon: talkied {version}, process {pid}, up since {started:.0}");
        let _ = writeln!(text, "system: {name} {release}, {}", std::env::consts::ARCH);
        let mut end = report.body.len().min(LONGEST);
        while !report.body.is_char_boundary(end) {
            end -= 1;
        }
        let _ = writeln!(text, "\n{}:\n{}", report.heading, report.body[..end].trim_end());
        text
    }

    fn is_news(&self, what: &str) -> bool {
        let Ok(mut told) = self.0.told.try_lock() else { return true };
        let now = Instant::now();
        if told.get(what).is_some_and(|at| now.duration_since(*at) < AGAIN) {
            return false;
        }
        if told.len() >= TOLD
            && let Some(oldest) = told.iter().min_by_key(|(_, at)| **at).map(|(what, _)| what.clone())
        {
            told.remove(&oldest);
        }
        told.insert(what.to_owned(), now);
        true
    }

    /// Removes all but the newest; their names sort by time.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.0.folder) else { return };
        let is_report = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "txt");
        let mut found: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_report).collect();
        found.sort();
        for old in found.iter().rev().skip(KEPT) {
            // It is tried again at the next report.
            let _ = private::remove(old);
        }
    }
}

/// The end of a file, by whole lines.
fn last_lines(path: &Path) -> std::io::Result<String> {
    use std::os::unix::fs::FileExt;
    let (file, length) = bounded::open(path)?;
    let start = length.saturating_sub(TAIL);
    let mut bytes = vec![0; (length - start) as usize];
    file.read_exact_at(&mut bytes, start)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().skip(usize::from(start > 0)).collect();
    Ok(lines[lines.len().saturating_sub(LINES)..].join("\n"))
}

#[cfg(test)]
#[path = "crash_tests.rs"]
mod tests;
