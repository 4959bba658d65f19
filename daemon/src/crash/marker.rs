//! The marker of a run: `run/talkied.run` in the home says who runs. A clean end removes it; so one that is found at the
//! start, of a process that is gone while the machine stayed up, tells of a daemon that ended without a word.
//!
//! The file is locked as long as the daemon lives, by the system, which lets go of it with the process: a process id
//! alone says nothing, for ids are used again.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Report, Reports};
use crate::boot;
use crate::private;

/// Longest marker that is read, in bytes.
const LONGEST: u64 = 4096;

/// A run of the daemon.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    pid: u32,
    version: String,
    started: String,
    boot: String,
    /// Whether it was asked to end: whoever then ends it for good has their reasons.
    is_ending: bool,
}

/// This run's marker. Dropping it removes it.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
    run: Run,
    /// Locked.
    file: File,
}

impl Marker {
    /// Reports how the last run of this home ended, if it did so without a word, and marks this one. `None` where another
    /// daemon runs in this home, or its disk takes no marker.
    pub fn begin(home: &Path, reports: &Reports) -> Option<Self> {
        match mark(home) {
            Ok(None) => None,
            Ok(Some((marker, last))) => {
                if let Some(last) = last {
                    tell(&last, &marker.run.boot, reports);
                }
                Some(marker)
            }
            Err(error) => {
                tracing::warn!(%error, "this run cannot be marked: should it break, no report will tell");
                None
            }
        }
    }

    /// Notes that the daemon was asked to end.
    pub fn ending(&mut self) {
        self.run.is_ending = true;
        if let Err(error) = write(&mut self.file, &self.run) {
            tracing::warn!(%error, "the mark of this run cannot be changed");
        }
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        if let Err(error) = private::remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the mark of this run cannot be removed");
        }
    }
}

/// Takes the marker, and returns it with what it said before.
fn mark(home: &Path) -> io::Result<Option<(Marker, Option<Run>)>> {
    let folder = home.join("run");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join("talkied.run");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = String::new();
    // What is no text was not written by a daemon, or not to its end.
    let last = (&file).take(LONGEST).read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
    let run = Run {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        started: format!("{:.0}", jiff::Timestamp::now()),
        boot: boot::id(),
        is_ending: false,
    };
    write(&mut file, &run)?;
    Ok(Some((Marker { path, run, file }, last)))
}

fn write(file: &mut File, run: &Run) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(run)?.as_bytes())
}

fn tell(last: &Run, boot: &str, reports: &Reports) {
    let Run { pid, version, started, .. } = last;
    if last.boot != *boot {
        return tracing::info!(pid, "the machine went down while talkied ran");
    }
    if last.is_ending {
        return tracing::warn!(pid, "the last talkied was ended before it was done with its end");
    }
    let what = format!(
        "talkied {version}, process {pid}, up since {started}, ended without a word: it crashed, or it was killed by \
         hand or by the system for want of memory"
    );
    reports.write(&Report { kind: "daemon", what, heading: "last lines of the log", body: reports.log_tail() });
}
