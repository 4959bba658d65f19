//! One program in a process group of its own: its start, what it reads and prints, and its end, which is everybody's of
//! the group. Called by `shell` and `notify`; whether it may run is decided there.
//!
//! The group is led by a watcher: a shell that reads from a pipe that only this process holds. When the daemon is gone,
//! however it ended, the pipe closes and the watcher kills its group. Until the end the watcher is not waited for, so
//! that the number of the group stays the group's. A program that leaves the group is followed by nobody.
//!
//! Dropping the future of [`run`] kills the group at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::LONGEST_OUTPUT;

/// How long a group gets to end by itself once it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// How long others may hold the pipes of a program that has ended.
const LINGER: Duration = Duration::from_secs(1);

/// How much of the end of standard error is kept, in bytes.
const KEPT_ERRORS: usize = 8192;

/// The program of the watcher. `kill` of 0 is of its own group, and so of itself too.
const WATCH: &str = "trap '' TERM INT HUP; read x; kill -s KILL 0";

/// A program and what it is started with. It has no other variables than these.
#[derive(Debug)]
pub(super) struct Call {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, OsString>,
    pub secrets: BTreeMap<String, SecretString>,
    pub directory: PathBuf,
    pub stdin: Vec<u8>,
    pub timeout: Duration,
}

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub status: ExitStatus,
    /// At most [`LONGEST_OUTPUT`].
    pub printed: Vec<u8>,
    pub said: Said,
}

/// The end of what a program wrote to standard error.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub bytes: Vec<u8>,
    /// Whether there was more before.
    pub is_cut: bool,
}

/// Why there is no such program.
#[derive(Debug)]
pub(super) enum Broken {
    NotStarted(io::Error),
    TimedOut(Said),
    TooMuch(Said),
    Cancelled,
    /// It is not known how it ended.
    Lost(io::Error),
}

/// More than [`LONGEST_OUTPUT`] was printed.
struct TooMuch;

/// How a program's time was over.
enum Turn {
    Ended(io::Result<ExitStatus>),
    TooMuch,
    TimedOut,
    Cancelled,
}

/// Runs a program to its end, or to that of its time. Afterwards nothing of its group is left.
pub(super) async fn run(call: Call, cancel: &CancellationToken) -> Result<Ran, Broken> {
    if cancel.is_cancelled() {
        return Err(Broken::Cancelled);
    }
    let watcher = Watcher::start().map_err(Broken::NotStarted)?;
    let mut child = spawn(&call, &watcher).map_err(Broken::NotStarted)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut printed, mut said) = (Vec::new(), Said::default());
    let turn = {
        let mut course = pin!(course(&mut child, pipes, &call.stdin, &mut printed, &mut said));
        let turn = tokio::select! {
            biased;
            ended = &mut course => ended.map_or(Turn::TooMuch, Turn::Ended),
            () = cancel.cancelled() => Turn::Cancelled,
            () = sleep(call.timeout) => Turn::TimedOut,
        };
        if matches!(turn, Turn::Cancelled | Turn::TimedOut) {
            watcher.signal(Signal::TERM);
            // Whatever comes of it: the rest is killed.
            let _ = timeout(GRACE, course).await;
        }
        turn
    };
    if matches!(turn, Turn::TooMuch) {
        watcher.signal(Signal::TERM);
        let _ = timeout(GRACE, child.wait()).await;
    }
    watcher.end(child).await;
    match turn {
        Turn::Ended(Ok(status)) => Ok(Ran { status, printed, said }),
        Turn::Ended(Err(error)) => Err(Broken::Lost(error)),
        Turn::TooMuch => Err(Broken::TooMuch(said)),
        Turn::TimedOut => Err(Broken::TimedOut(said)),
        Turn::Cancelled => Err(Broken::Cancelled),
    }
}

fn spawn(call: &Call, watcher: &Watcher) -> io::Result<Child> {
    let mut command = Command::new(&call.path);
    command.args(&call.arguments).env_clear().envs(&call.environment);
    command.envs(call.secrets.iter().map(|(name, secret)| (name, secret.expose_secret())));
    command.current_dir(&call.directory).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(watcher.group()?.as_raw_nonzero().get()).spawn()
}

/// The ends of a program's pipes that are here.
type Pipes = (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>);

/// Until the program has ended and its pipes are closed, or others hold them for too long.
async fn course(
    child: &mut Child,
    (stdin, stdout, stderr): Pipes,
    input: &[u8],
    printed: &mut Vec<u8>,
    said: &mut Said,
) -> Result<io::Result<ExitStatus>, TooMuch> {
    let talk = async {
        tokio::try_join!(feed(stdin, input), take(stdout, printed), listen(stderr, said))?;
        Ok(())
    };
    let (mut talk, mut ended) = (pin!(talk), pin!(child.wait()));
    tokio::select! {
        heard = &mut talk => {
            heard?;
            Ok(ended.await)
        }
        status = &mut ended => match timeout(LINGER, talk).await {
            Ok(Err(too_much)) => Err(too_much),
            _ => Ok(status),
        },
    }
}

/// Gives the program its input and closes it. One that reads none of it, or not all, may do so.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> Result<(), TooMuch> {
    if let Some(mut stdin) = stdin {
        // A pipe that nobody reads any more.
        let _ = stdin.write_all(input).await;
    }
    Ok(())
}

async fn take(stdout: Option<ChildStdout>, printed: &mut Vec<u8>) -> Result<(), TooMuch> {
    if let Some(stdout) = stdout {
        // Reads of a pipe fail for no reason that would say more than its end does.
        let _ = stdout.take(LONGEST_OUTPUT as u64 + 1).read_to_end(printed).await;
    }
    if printed.len() > LONGEST_OUTPUT { Err(TooMuch) } else { Ok(()) }
}

async fn listen(stderr: Option<impl AsyncRead + Unpin>, said: &mut Said) -> Result<(), TooMuch> {
    let Some(mut stderr) = stderr else { return Ok(()) };
    let mut some = vec![0; KEPT_ERRORS];
    while let Ok(count @ 1..) = stderr.read(&mut some).await {
        said.bytes.extend_from_slice(&some[..count]);
        let more = said.bytes.len().saturating_sub(KEPT_ERRORS);
        said.bytes.drain(..more);
        said.is_cut |= more > 0;
    }
    Ok(())
}

/// The leader of a group, which ends with this process at the latest. Dropping it kills the group.
struct Watcher {
    child: Child,
    /// Closes with this process. Nothing is ever written.
    _alive: Option<ChildStdin>,
}

impl Watcher {
    fn start() -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCH]).env_clear().current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let alive = child.stdin.take();
        Ok(Self { child, _alive: alive })
    }

    /// The group, as long as its leader has not been waited for.
    fn group(&self) -> io::Result<Pid> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        id.ok_or_else(|| io::Error::other("its watcher has ended"))
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = self.group() {
            // Fails only where nobody is left to get it.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Kills the group, and waits for those of it that are this process's children.
    async fn end(mut self, mut child: Child) {
        self.signal(Signal::KILL);
        // What the system does not let go of, as in a read of a disk that is away, is left to end later.
        let _ = timeout(GRACE, async { (child.wait().await, self.child.wait().await) }).await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
