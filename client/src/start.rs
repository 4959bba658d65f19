//! Starts the daemon on demand, detached from the caller's terminal, and waits until it listens.
//!
//! It never ends a daemon and never restarts one. Called by [`Client::connect_or_start`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use protocol::paths::{HOME_VARIABLE, Paths, SOCKET_VARIABLE};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::connection::Client;
use crate::error::Error;

/// How long a started daemon may take until it listens.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A second daemon ends at once while the first, started by another client in the same moment, is about to listen.
const GRACE: Duration = Duration::from_millis(500);

/// A log longer than this is begun anew.
const LOG_BYTES: u64 = 4 << 20;

/// The daemon's program.
const NAME: &str = "talkied";

/// The daemon's program: `talkied` beside the running program, else the one on the `PATH`; the bare name where there is none.
pub fn program() -> PathBuf {
    beside().or_else(|| on_path().next()).unwrap_or_else(|| NAME.into())
}

/// The one beside the running program.
pub(crate) fn beside() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(NAME));
    beside.filter(|program| program.is_file())
}

/// Those on the `PATH`, the first to be found first.
pub(crate) fn on_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.into_iter().map(|folder| folder.join(NAME)).filter(|program| program.is_file())
}

/// A place as the daemon must be told it, which runs in another folder.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Where a daemon started on demand writes until it listens, and where its last words go; for the time between it has a
/// log of its own, `logs/talkied.log`.
pub fn log(paths: &Paths) -> PathBuf {
    paths.home.join("logs").join("start.log")
}

/// Starts `program` and connects to it; the error has the end of its log.
pub(crate) async fn start(paths: &Paths, program: &Path, patience: Duration) -> Result<Client, Error> {
    let log = Log::open(paths)?;
    let mut child = spawn(paths, program, &log)?;
    let mut deadline = Instant::now() + patience;
    let mut exited = None;
    let mut pause = Duration::from_millis(2);
    loop {
        match Client::connect(&paths.socket).await {
            Err(Error::NotRunning { .. }) => {}
            connected => return connected,
        }
        if Instant::now() >= deadline {
            return Err(log.not_started(reason(program, exited, patience)));
        }
        if exited.is_none() {
            exited = child.try_wait().ok().flatten();
            deadline = exited.map_or(deadline, |_| deadline.min(Instant::now() + GRACE));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn reason(program: &Path, exited: Option<ExitStatus>, patience: Duration) -> String {
    match exited {
        Some(status) => format!("{} ended at once ({status})", program.display()),
        None => format!("{} does not listen after {} s", program.display(), patience.as_secs_f32()),
    }
}

fn spawn(paths: &Paths, program: &Path, log: &Log) -> Result<Child, Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => {
            log.not_started(format!("{} is neither beside this program nor on the PATH", program.display()))
        }
        _ => log.not_started(format!("failed to run {}: {source}", program.display())),
    };
    // A bare name is looked up on the PATH; anything else must survive the change of the directory below.
    let executable = if program.components().count() > 1 { absolute(program) } else { program.to_path_buf() };
    let mut command = Command::new(executable);
    command
        .env(HOME_VARIABLE, absolute(&paths.home))
        .env(SOCKET_VARIABLE, absolute(&paths.socket))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.file.try_clone().map_err(failed)?)
        .stderr(log.file.try_clone().map_err(failed)?);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid is one, and nothing is allocated.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
    }
    command.spawn().map_err(failed)
}

/// The log of one start.
struct Log {
    path: PathBuf,
    file: File,
    /// Length before this start; what is behind it is of this daemon.
    start: u64,
}

impl Log {
    fn open(paths: &Paths) -> Result<Self, Error> {
        let path = log(paths);
        let failed = |source| Error::Io { action: "open", path: path.clone(), source };
        let folder = path.parent().unwrap_or(&paths.home);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let start = if length > LOG_BYTES { 0 } else { length };
        file.set_len(start).map_err(failed)?;
        Ok(Self { path, file, start })
    }

    fn not_started(&self, reason: String) -> Error {
        Error::NotStarted { reason, tail: self.tail().unwrap_or_default(), log: self.path.clone() }
    }

    /// The last ten lines of this start.
    fn tail(&self) -> io::Result<String> {
        const BYTES: u64 = 4096;
        const LINES: usize = 10;
        let mut file = fs::File::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.start.max(length.saturating_sub(BYTES))))?;
        let mut text = Vec::new();
        file.take(BYTES).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(LINES)..].join("\n"))
    }
}
