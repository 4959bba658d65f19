//! The engine's program packs the weights of a folder, as a child that lives no longer than the import.
//!
//! It says how far it is on its standard output, and what it needs before it writes anything. It ends when its standard
//! input closes, so that none outlives the daemon.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use engine::convert::{Failed, FailedKind, Progress, Report};

use super::incoming::Incoming;
use super::{ImportError, Quantize, Source};
use crate::secrets;

/// How often an import that hears nothing asks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// How long the last words of a child that has ended may take: another process may hold its standard error.
const GRACE: Duration = Duration::from_secs(2);

/// Reports that may wait.
const REPORTS: usize = 64;

/// Lines of standard error that are kept, and the longest line of either output in bytes.
const KEPT_LINES: usize = 4;
const LONGEST_LINE: u64 = 16 << 10;

/// Name of what the program writes in the folder that grows.
const CONVERTED: &str = "converted";

/// Fills `incoming` with the model of `folder`, packed as `source` asks. The first report decides whether there is room.
pub(super) fn convert(
    source: &Source,
    folder: &Path,
    incoming: &Incoming,
    root: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), ImportError> {
    let mut running = Running::start(source, folder, &incoming.path().join(CONVERTED))?;
    let mut now = Progress { done_bytes: 0, total_bytes: 0 };
    let mut failed = None;
    loop {
        match running.reports.recv_timeout(LOOK) {
            Ok(Report::Progress(told)) => {
                if now.total_bytes == 0 {
                    super::check_space(root, told.total_bytes)?;
                }
                now = told;
            }
            Ok(Report::Failed(told)) => failed = Some(told),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if progress(now).is_break() {
            return Err(ImportError::Cancelled { path: source.path.clone() });
        }
    }
    running.end(source, failed)?;
    incoming.adopt(CONVERTED)
}

/// The child. Dropped, it is killed and waited for, so that it writes nothing into a folder that goes.
struct Running {
    child: Child,
    reports: Receiver<Report>,
    /// Its last words, when it has closed its standard error.
    said: Receiver<String>,
}

impl Running {
    fn start(source: &Source, from: &Path, to: &Path) -> Result<Self, ImportError> {
        let mut program = Command::new(&source.engine);
        for name in secrets::variables() {
            program.env_remove(name);
        }
        program.arg("convert").arg("--from").arg(from).arg("--to").arg(to);
        if let Some(Quantize { bits, group_size }) = source.quantize {
            program.arg("--bits").arg(bits.to_string()).arg("--group-size").arg(group_size.to_string());
        }
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in the daemon's terminal is for the daemon.
        program.process_group(0);
        let mut child = program.spawn().map_err(|error| gone(source, error.to_string()))?;
        let (report, reports) = mpsc::sync_channel(REPORTS);
        let (say, said) = mpsc::sync_channel(1);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // Both end when the child does, at the latest when this value is dropped.
        std::thread::spawn(move || stdout.map(|stdout| read_reports(stdout, &report)));
        std::thread::spawn(move || {
            let words = stderr.map(last_words).unwrap_or_default();
            // An import that was cancelled wants none.
            let _ = say.send(words);
        });
        Ok(Self { child, reports, said })
    }

    /// What became of it, when it reports no more.
    fn end(&mut self, source: &Source, failed: Option<Failed>) -> Result<(), ImportError> {
        let status = self.child.wait().map_err(|error| gone(source, error.to_string()))?;
        if status.success() {
            return Ok(());
        }
        let path = source.path.clone();
        Err(match failed {
            Some(Failed { kind: FailedKind::ModelBroken, message }) => ImportError::Damaged { path, what: message },
            Some(Failed { kind: FailedKind::NotSupported, message }) => {
                ImportError::NotSupported { path, what: message }
            }
            Some(Failed { message, .. }) => gone(source, message),
            None => {
                let said = self.said.recv_timeout(GRACE).unwrap_or_default();
                let said = if said.is_empty() { said } else { format!("; it said: {said}") };
                gone(source, format!("{status}{said}"))
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gone(source: &Source, how: String) -> ImportError {
    ImportError::Engine { program: source.engine.clone(), how }
}

fn read_reports(stdout: impl Read, report: &SyncSender<Report>) {
    for line in lines(stdout) {
        // What is no report comes from a library that talks.
        let Ok(told) = serde_json::from_str(&line) else { continue };
        if report.send(told).is_err() {
            return;
        }
    }
}

fn last_words(stderr: impl Read) -> String {
    let mut kept = VecDeque::with_capacity(KEPT_LINES);
    for line in lines(stderr) {
        tracing::warn!("a conversion says: {line}");
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    Vec::from(kept).join(" | ")
}

/// The lines of an output until it closes; one that is too long comes in pieces.
fn lines(output: impl Read) -> impl Iterator<Item = String> {
    let mut output = BufReader::new(output);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let bytes = output.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).ok()?;
        (bytes > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
    })
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
