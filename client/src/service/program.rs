//! The daemon's program: where it is, whether a service can run it, which version it is; and the service's status,
//! which tells of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use protocol::rpc::DaemonClient;
use tokio::process::Command;

use super::error::Error;
use super::job::Found;
use super::{Loaded, Service, Status};
use crate::{Client, start};

/// A program that does not tell its version for this long is not the daemon.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon that is at the end of its work may not answer any more.
const ANSWER: Duration = Duration::from_secs(2);

/// The program that is named; else the one beside this one, by the name that the `PATH` has for it, which outlives an
/// update where that is a link; else the one on the `PATH`.
pub fn find_program(named: Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(program) = named {
        if !program.is_absolute() {
            return Err(Error::program(&program, "is not an absolute path", "give the whole path with --program"));
        }
        return Ok(program);
    }
    let is_same = |one: &Path, other: &Path| one.canonicalize().ok() == other.canonicalize().ok();
    let found = match start::beside() {
        Some(beside) => start::on_path().find(|program| is_same(program, &beside)).or(Some(beside)),
        None => start::on_path().next(),
    };
    found.ok_or_else(|| {
        let hint = "install talkied, or name it with --program";
        Error::program(Path::new("talkied"), "is neither beside talkiectl nor on the PATH", hint)
    })
}

/// The version that a program tells, which shows too that it is the daemon and runs.
pub async fn version_of(program: &Path) -> Result<String, Error> {
    let refuse = |problem: String| {
        Error::program(program, problem, "name the program talkied with --program, and make sure that it runs")
    };
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.map_err(|_| refuse(format!("does not tell its version for {} s", PATIENCE.as_secs())))?;
    let output = output.map_err(|error| refuse(format!("does not run: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.lines().next().and_then(|line| line.strip_prefix("talkied ")).map(str::to_owned);
    version.ok_or_else(|| refuse("is another program: it does not tell a version of talkied".into()))
}

/// The service as it is, with all that is wrong with it.
pub(super) async fn status(service: &Service, found: Option<Found>, loaded: Loaded) -> Status {
    let files = service.paths();
    let installed = files.iter().all(|path| path.exists());
    let mut problems: Vec<String> = loaded.problem.into_iter().collect();
    let version = match &found {
        Some(found) => version_of(&found.program).await.map_err(|error| problems.push(reinstall(&error))).ok(),
        None => None,
    };
    let running_version = match (&found, loaded.pid) {
        (Some(found), Some(_)) => running_version(&found.socket).await,
        _ => None,
    };
    if installed && found.is_none() {
        problems.push("its files are not what this version writes: `talkiectl service install` writes them".into());
    }
    if !installed && files.iter().any(|path| path.exists()) {
        problems.push("one of its files is missing: `talkiectl service install` writes it".into());
    }
    if installed && problems.is_empty() && !loaded.listens {
        problems.push(format!("{} does not listen for it: `talkiectl service start`", service.manager.name()));
    }
    if let (Some(version), Some(running)) = (&version, &running_version)
        && version != running
    {
        problems.push(format!("{running} runs, but {version} is installed: `talkiectl service restart`"));
    }
    Status {
        manager: service.manager,
        installed,
        current: found.is_some(),
        loaded: loaded.known,
        listens: loaded.listens,
        at_login: loaded.at_login,
        running: loaded.pid.is_some(),
        pid: loaded.pid,
        running_version,
        version,
        last_end: loaded.last_end,
        files,
        problems,
        socket: found.as_ref().map(|found| found.socket.clone()),
        program: found.map(|found| found.program),
    }
}

fn reinstall(error: &Error) -> String {
    format!("{error}: `talkiectl service install`, once talkied is there")
}

async fn running_version(socket: &Path) -> Option<String> {
    let ask = async { Client::connect(socket).await.ok()?.ping().await.ok() };
    Some(tokio::time::timeout(ANSWER, ask).await.ok()??.version)
}
