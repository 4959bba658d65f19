//! Engines as the daemon sees them: child processes, one for each resident model. This is one of them: its start,
//! its socket, its end. The scheduler starts and ends them and alone decides; nothing here knows what a model is.
//!
//! The child finds its half of a socket pair as standard input. Its standard error is read line by line into the
//! log; the last lines are kept to explain its death. Dropping the [`Engine`] asks the child to end and kills it
//! when it does not; one that hangs is killed at once. A child whose daemon dies sees its socket close and ends by itself.
//! One that a signal ends, and one that hung, leaves a report.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use engine::{Command, Event, frame};
use futures_util::{SinkExt, StreamExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::codec::{Framed, FramedRead, LengthDelimitedCodec, LinesCodec};

use crate::crash::{self, Reports};
use crate::secrets;

/// Commands that may wait for an engine to read them: more than there are when all of a full batch begins, is paused, goes on
/// and is cancelled while the engine computes one step.
const COMMANDS: usize = 4096;

/// How long an engine may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// SIGHUP, SIGINT and SIGTERM: who sends them asks for an end, as a logout does, and nothing broke.
const ASKED: [i32; 3] = [1, 2, 15];

/// Lines of standard error that are kept, and their longest length in bytes.
const KEPT_LINES: usize = 4;
const LONGEST_LINE: usize = 4096;

/// What comes from an engine process. [`Report::Gone`] is the last.
#[derive(Debug)]
pub enum Report {
    /// It says something.
    Event(Event),
    /// It ended; the words say how.
    Gone(String),
}

/// A handle on a running engine process.
#[derive(Debug)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
    pid: u32,
    /// Takes the reason why it is killed.
    kill: oneshot::Sender<String>,
}

/// How a process ended.
struct End {
    /// In words.
    how: String,
    /// What is to be reported, where something broke.
    broken: Option<String>,
}

impl Engine {
    /// Starts `program` and reports through `report`, which waits while the receiver is behind.
    pub fn start<T: Send + 'static>(
        program: &Path,
        crashes: Reports,
        reports: mpsc::Sender<T>,
        wrap: impl Fn(Report) -> T + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        let mut command = tokio::process::Command::new(program);
        for name in secrets::variables() {
            command.env_remove(name);
        }
        let mut child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C in the daemon's terminal is for the daemon, which then ends its engines in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        let errors = child.stderr.take();
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (kill, killed) = oneshot::channel();
        let program = program.to_path_buf();
        let task = tokio::spawn(async move {
            let said = tokio::spawn(read_errors(errors, pid));
            let why = tokio::select! {
                // First, for whoever kills lets go of the commands too.
                biased;
                Ok(why) = killed => Some(why),
                () = talk(socket, receiver, &reports, &wrap) => None,
            };
            let End { how, broken } = end(&mut child, why).await;
            let said = timeout(GRACE, said).await.ok().and_then(Result::ok).unwrap_or_default();
            if let Some(broken) = broken {
                // Nobody waits for the disk.
                drop(tokio::task::spawn_blocking(move || report(&crashes, &program, pid, &broken)));
            }
            let how = if said.is_empty() { how } else { format!("{how}; it said: {said}") };
            // A scheduler that is gone needs no word of it.
            let _ = reports.send(wrap(Report::Gone(how))).await;
        });
        Ok(Self { commands, task, pid, kill })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a command; false when the engine is gone or reads no more, which its report will tell.
    pub fn send(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// Ends it at once, since it hangs; `why` completes "the engine ended: ". The task that is returned is done when the
    /// process is gone.
    pub fn kill(self, why: String) -> JoinHandle<()> {
        // One that has ended meanwhile needs no killing.
        let _ = self.kill.send(why);
        self.task
    }

    /// Asks it to end; the task that is returned is done when the process is gone.
    pub fn retire(self) -> JoinHandle<()> {
        self.task
    }
}

/// Carries commands and events until the engine closes its socket or the handle is dropped.
async fn talk<T>(
    socket: UnixStream,
    mut commands: mpsc::Receiver<Command>,
    reports: &mpsc::Sender<T>,
    wrap: &impl Fn(Report) -> T,
) {
    let codec = LengthDelimitedCodec::builder().little_endian().max_frame_length(frame::MAX_FRAME_BYTES).new_codec();
    let (mut sink, mut stream) = Framed::new(socket, codec).split::<Bytes>();
    let write = async {
        while let Some(command) = commands.recv().await {
            let Ok(bytes) = frame::encode(&command) else { return };
            if sink.send(bytes.into()).await.is_err() {
                return std::future::pending().await;
            }
        }
        if let Ok(bytes) = frame::encode(&Command::Unload) {
            // An engine that is gone already needs no word of it.
            let _ = sink.send(bytes.into()).await;
        }
    };
    let read = async {
        while let Some(Ok(bytes)) = stream.next().await {
            match frame::decode::<Event>(&bytes) {
                Ok(event) => {
                    if reports.send(wrap(Report::Event(event))).await.is_err() {
                        return;
                    }
                }
                Err(error) => return tracing::error!(%error, "an engine sent what is no event"),
            }
        }
    };
    // Either future may be dropped at any point: the process is ended right after, and nothing it says counts.
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

/// Waits for the process to end and says how it ended. One that takes too long is killed, and one that hangs, which `why`
/// tells, at once.
async fn end(child: &mut Child, why: Option<String>) -> End {
    let grace = if why.is_some() { Duration::ZERO } else { GRACE };
    let (status, is_ours) = if let Ok(status) = timeout(grace, child.wait()).await {
        (status, false)
    } else {
        // Fails only when the process has ended meanwhile, which the wait below tells.
        let _ = child.start_kill();
        (child.wait().await, true)
    };
    if let Some(why) = why {
        return End { broken: Some(format!("was killed: {why}")), how: why };
    }
    let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
    let signal = signal.filter(|signal| !is_ours && !ASKED.contains(signal));
    let broken = signal.map(|signal| format!("was ended by signal {signal}{}", meaning(signal)));
    End { how: status.map_or_else(|error| error.to_string(), describe), broken }
}

/// Leaves a report of an engine. The log has what it said, and of which model it was.
fn report(crashes: &Reports, program: &Path, pid: u32, broken: &str) {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let what = format!("an engine, {name}, {broken}");
    let body = format!("process {pid}, {}\n\n{}", program.display(), crashes.log_tail());
    crashes.write(&crash::Report { kind: "engine", what, heading: "last lines of the log", body });
}

/// What the signals mean that end an engine most often.
fn meaning(signal: i32) -> &'static str {
    match signal {
        4 => " (an instruction that this processor does not have)",
        6 => " (it gave up)",
        9 => " (killed by hand, or by the system for want of memory)",
        7 | 10 | 11 => " (a fault of memory)",
        _ => "",
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "it closed its socket".into(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "killed (signal 9; by hand, or by the system for want of memory)".into(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Logs what the engine writes to standard error and returns its last lines.
async fn read_errors(errors: Option<ChildStderr>, pid: u32) -> String {
    let Some(errors) = errors else { return String::new() };
    let mut lines = FramedRead::new(errors, LinesCodec::new_with_max_length(LONGEST_LINE));
    let mut kept = VecDeque::with_capacity(KEPT_LINES);
    while let Some(line) = lines.next().await {
        // A line that is too long is dropped by the codec; the next one is read as usual.
        let Ok(line) = line else { continue };
        tracing::warn!(engine = pid, "{line}");
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    Vec::from(kept).join(" | ")
}
