//! The steps from a service that is to one that is wanted, shown or carried out one after the other.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tokio::time::Instant;

use super::error::{Error, Reason};
use super::tool::{Call, Ran};
use super::{ServiceFile, daemon, files, launchd, systemd};

/// Longest that the manager may take to let go of a job or a process.
const PATIENCE: Duration = Duration::from_mins(1);

const PAUSE: Duration = Duration::from_millis(100);

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a folder, for its user alone.
    Folder(PathBuf),
    /// Write a file, whole or not at all.
    Write(ServiceFile),
    /// Remove a file.
    Remove(PathBuf),
    /// Have a daemon end that was started without the manager, and wait until it has.
    EndDaemon(PathBuf),
    /// Run a command of the manager.
    Run(Call),
    /// The same, where it may find nothing to do.
    RunIfNeeded(Call),
    /// Wait until launchd has forgotten the job.
    WaitUntilGone,
    /// Wait until launchd has no such process any more.
    WaitForEnd(u32),
}

impl Step {
    /// In words, as `--dry-run` shows it.
    pub fn words(&self) -> String {
        match self {
            Self::Folder(path) => format!("make the folder {}", path.display()),
            Self::Write(file) => format!("write {}", file.path.display()),
            Self::Remove(path) => format!("remove {}", path.display()),
            Self::EndDaemon(socket) => format!("end a talkied started on demand, if one has {}", socket.display()),
            Self::Run(call) => format!("run {call}"),
            Self::RunIfNeeded(call) => format!("run {call}, which may find nothing to do"),
            Self::WaitUntilGone => "wait until launchd has let go of the old job".into(),
            Self::WaitForEnd(pid) => format!("wait until process {pid} has ended"),
        }
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut entry = |name: &str, path: &PathBuf| {
            map.serialize_entry("do", name)?;
            map.serialize_entry("path", path)
        };
        match self {
            Self::Folder(path) => entry("make_folder", path)?,
            Self::Write(file) => {
                entry("write", &file.path)?;
                map.serialize_entry("text", &file.text)?;
            }
            Self::Remove(path) => entry("remove", path)?,
            Self::EndDaemon(socket) => entry("end_daemon", socket)?,
            Self::Run(call) | Self::RunIfNeeded(call) => {
                let command: Vec<&str> =
                    std::iter::once(call.tool).chain(call.arguments.iter().map(String::as_str)).collect();
                map.serialize_entry("do", "run")?;
                map.serialize_entry("command", &command)?;
            }
            Self::WaitUntilGone => map.serialize_entry("do", "wait_until_gone")?,
            Self::WaitForEnd(pid) => {
                map.serialize_entry("do", "wait_for_end")?;
                map.serialize_entry("pid", pid)?;
            }
        }
        map.end()
    }
}

/// Does one step.
pub async fn carry_out(step: &Step) -> Result<(), Error> {
    match step {
        Step::Folder(path) => files::make_folder(path),
        Step::Write(file) => files::write(file),
        Step::Remove(path) => files::remove(path),
        Step::EndDaemon(socket) => daemon::end(socket).await,
        Step::Run(call) => match run(call).await? {
            ran if ran.status.success() => Ok(()),
            ran => Err(refused(call, ran)),
        },
        Step::RunIfNeeded(call) => match run(call).await? {
            ran if ran.status.success() || is_done(call, &ran) => Ok(()),
            ran => Err(refused(call, ran)),
        },
        Step::WaitUntilGone => wait(async || Ok(!launchd::look().await?.known), "launchd holds the old job").await,
        Step::WaitForEnd(pid) => {
            let ended = async || Ok(launchd::look().await?.pid != Some(*pid));
            wait(ended, &format!("process {pid} runs")).await
        }
    }
}

async fn run(call: &Call) -> Result<Ran, Error> {
    call.run(if call.tool == launchd::TOOL { launchd::NOT_THERE } else { systemd::NOT_THERE }).await
}

fn refused(call: &Call, ran: Ran) -> Error {
    if call.tool == launchd::TOOL { launchd::refused(call, ran) } else { systemd::refused(call, ran) }
}

fn is_done(call: &Call, ran: &Ran) -> bool {
    if call.tool == launchd::TOOL { launchd::is_gone(ran) } else { systemd::is_gone(ran) }
}

async fn wait(so: impl AsyncFn() -> Result<bool, Error>, what: &str) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while !so().await? {
        if Instant::now() >= deadline {
            let reason = Reason::Late { what: format!("{what} still"), seconds: PATIENCE.as_secs() };
            return Err(Error::new(reason, "run it again, with --force"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
