//! `logs`: what the daemon wrote of itself. The daemon is not asked: the log is there when it is not.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::Session;
use crate::cli::{Form, Logs};
use crate::failure::Failure;
use crate::render;

/// Between looks at a log that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Files before the first that are looked through for lines.
const ROTATED: u32 = 9;

/// Longest line that is waited for, in bytes; a longer one is shown in parts.
const LONGEST_LINE: usize = 1 << 20;

pub async fn logs(session: &Session, asked: Logs) -> Result<(), Failure> {
    let path = session.paths.home.join("logs").join("talkied.log");
    let mut follower = match Follower::open(&path) {
        Ok(follower) => follower,
        Err(error) if error.kind() == io::ErrorKind::NotFound && asked.follow => Follower::waiting(path),
        Err(error) => return Err(unreadable(&path, error)),
    };
    if follower.file.is_none() && !session.quiet {
        render::to_stderr(&format!("note: {} is not there yet\n", follower.path.display()));
    }
    let whole = follower.read().map_err(|error| unreadable(&follower.path, error))?;
    show(session.form, &last(&follower.path, &whole, asked.lines))?;
    if !asked.follow {
        return Ok(());
    }
    tokio::select! {
        failure = follow(session.form, &mut follower) => Err(failure),
        // Who has seen enough was not interrupted.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn follow(form: Form, follower: &mut Follower) -> Failure {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let shown = match follower.read() {
            Ok(text) => show(form, &text.lines().map(str::to_owned).collect::<Vec<_>>()),
            Err(error) => Err(unreadable(&follower.path, error)),
        };
        if let Err(failure) = shown {
            return failure;
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> Failure {
    if source.kind() == io::ErrorKind::NotFound {
        let message = format!("there is no log: {} is where it would be", path.display());
        return Failure::NotFound { message, hint: "talkied writes it when it runs: `talkiectl models` starts it" };
    }
    talkiectl::Error::Io { action: "read", path: path.to_path_buf(), source }.into()
}

/// The last lines: those of the file, and where they are too few those of the files before it.
fn last(path: &Path, whole: &str, wanted: usize) -> Vec<String> {
    let mut texts = vec![whole.to_owned()];
    let mut count = whole.lines().count();
    for number in 1..=ROTATED {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        if count >= wanted {
            break;
        }
        let Ok(bytes) = fs::read(PathBuf::from(name)) else { break };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        count += text.lines().count();
        texts.push(text);
    }
    let lines = texts.iter().rev().flat_map(|text| text.lines());
    lines.skip(count.saturating_sub(wanted)).map(str::to_owned).collect()
}

/// Reads what is new, over the change from one file to the next.
struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl Follower {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_path_buf(), file: Some(File::open(path)?), begun: Vec::new() })
    }

    fn waiting(path: PathBuf) -> Self {
        Self { path, file: None, begun: Vec::new() }
    }

    /// The whole lines that were written since the last call.
    fn read(&mut self) -> io::Result<String> {
        let mut bytes = std::mem::take(&mut self.begun);
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes)?;
        }
        if !self.is_in_place()? {
            // Nothing is written to the old one any more, but what was between the two looks.
            if let Some(file) = &mut self.file {
                file.read_to_end(&mut bytes)?;
            }
            match File::open(&self.path) {
                Ok(mut file) => {
                    file.read_to_end(&mut bytes)?;
                    self.file = Some(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if bytes.len() - end < LONGEST_LINE {
            self.begun = bytes.split_off(end);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let ours = file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
            // Between two names of a rotation, or removed: the next look finds what comes after.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// A line of the log as `--json` prints it.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Line<'a> {
    /// Absent, with the next two, for a line that goes on from the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    message: &'a str,
}

impl<'a> Line<'a> {
    fn of(text: &'a str) -> Self {
        let parts = || {
            let (time, rest) = text.split_once(' ')?;
            let (level, rest) = rest.trim_start().split_once(' ')?;
            let (target, message) = rest.split_once(": ")?;
            let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
            levels.contains(&level).then_some(Self {
                time: Some(time),
                level: Some(level),
                target: Some(target),
                message,
            })
        };
        parts().unwrap_or(Self { time: None, level: None, target: None, message: text })
    }
}

fn show(form: Form, lines: &[String]) -> Result<(), Failure> {
    let mut text = String::new();
    for line in lines {
        text += &match form {
            Form::Json => serde_json::to_string(&Line::of(line)).map_err(|error| Failure::Output(error.into()))?,
            Form::Words => render::printable(line),
        };
        text.push('\n');
    }
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
