//! Engines as the daemon sees them: child processes, one for each resident model. This is one of them: its start,
//! its socket, its end. The scheduler starts and ends them and alone decides; nothing here knows what a model is.
//!
//! The child finds its half of a socket pair as standard input. One thread writes what it is told, and one reads what it says
//! and hands tokens on by itself, so that nobody else is woken for them. Its standard error is read line by line into the log;
//! the last lines are kept to explain its death. Dropping the [`Engine`] asks the child to end and kills it
//! when it does not; one that hangs is killed at once. A child whose daemon dies sees its socket close and ends by itself.
//! One that a signal ends, and one that hung, leaves a report.

use std::collections::VecDeque;
use std::io::{self, BufReader};
use std::mem;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use engine::{Command, Event, frame};
use futures_util::StreamExt;
use tokio::process::{Child, ChildStderr};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;

use crate::crash::{self, Reports};
use crate::express;
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

/// A process, and the threads that speak with it.
struct Process {
    child: Child,
    socket: Arc<UnixStream>,
    /// Cancelled when it was told everything.
    told: CancellationToken,
    /// Cancelled when it says no more.
    heard: CancellationToken,
}

/// How a process ended.
struct End {
    /// In words.
    how: String,
    /// What is to be reported, where something broke.
    broken: Option<String>,
}

impl Engine {
    /// Starts `program` and reports through `report`, which waits while the receiver is behind, what `at_once` gives back.
    pub fn start<T: Send + 'static>(
        program: &Path,
        crashes: Reports,
        reports: mpsc::Sender<T>,
        wrap: impl Fn(Report) -> T + Clone + Send + 'static,
        at_once: impl Fn(Event) -> Option<Event> + Send + 'static,
    ) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let socket = Arc::new(socket);
        let mut child = spawn(program, theirs)?;
        let pid = child.id().unwrap_or_default();
        let errors = child.stderr.take();
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (kill, killed) = oneshot::channel();
        let program = program.to_path_buf();
        let told = on_thread("engine-commands", {
            let socket = Arc::clone(&socket);
            move || write(&socket, receiver)
        })?;
        let heard = on_thread("engine-events", {
            let (socket, reports, wrap) = (Arc::clone(&socket), reports.clone(), wrap.clone());
            move || read(&socket, at_once, |event| reports.blocking_send(wrap(Report::Event(event))).is_ok())
        })?;
        let process = Process { child, socket, told, heard };
        let task = tokio::spawn(async move {
            let said = tokio::spawn(read_errors(errors, pid));
            let End { how, broken } = process.ended(killed).await;
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

impl Process {
    /// Waits for its end, of which `killed` may tell the reason, and until everything that it said is heard.
    async fn ended(mut self, killed: oneshot::Receiver<String>) -> End {
        let spoken = async {
            tokio::select! {
                () = self.told.cancelled() => {}
                () = self.heard.cancelled() => {}
            }
        };
        tokio::pin!(spoken);
        let why = tokio::select! {
            // First, for whoever kills lets go of the commands too.
            biased;
            killed = killed => match killed {
                Ok(why) => Some(why),
                // It may go; one that reads nothing any more is not told.
                Err(_) => timeout(GRACE, spoken).await.err().and(None),
            },
            () = &mut spoken => None,
        };
        let end = end(&mut self.child, why).await;
        // Somebody else may hold its half of the socket.
        if timeout(GRACE, self.heard.cancelled()).await.is_err() {
            // Fails only when the socket is closed already.
            let _ = self.socket.shutdown(Shutdown::Both);
            self.heard.cancelled().await;
        }
        end
    }
}

fn spawn(program: &Path, input: UnixStream) -> io::Result<Child> {
    let mut command = tokio::process::Command::new(program);
    for name in secrets::variables() {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::from(OwnedFd::from(input)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C in the daemon's terminal is for the daemon, which then ends its engines in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Begins work that blocks; the token is cancelled when it is done.
fn on_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<CancellationToken> {
    let done = CancellationToken::new();
    let (guard, runtime) = (done.clone().drop_guard(), Handle::current());
    thread::Builder::new().name(name.into()).spawn(move || {
        let (_guard, _context) = (guard, runtime.enter());
        work();
    })?;
    Ok(done)
}

/// Carries commands until the handle is dropped, or the engine reads no more.
fn write(mut socket: &UnixStream, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.blocking_recv() {
        if frame::write(&mut socket, &command).is_err() {
            return;
        }
    }
    // An engine that is gone already needs no word of it.
    let _ = frame::write(&mut socket, &Command::Unload);
}

/// Carries events until the engine closes its socket, or nobody listens any more.
fn read(socket: &UnixStream, at_once: impl Fn(Event) -> Option<Event>, report: impl Fn(Event) -> bool) {
    let (mut socket, mut body) = (BufReader::new(socket), Vec::new());
    loop {
        match frame::read_in::<Event>(&mut body, &mut socket) {
            Ok(Some(event)) => {
                if express::deliver(|| at_once(event)).is_some_and(|event| !report(event)) {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return tracing::error!(%error, "an engine sent what is no event");
            }
            // It ended, if need be in the middle of a word.
            Ok(None) | Err(_) => return,
        }
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
    let mut was_dropped = false;
    loop {
        // A line that is too long, or no text, is dropped by the codec. Behind it the stream ends once, and then goes on.
        let line = match lines.next().await {
            Some(Ok(line)) => line,
            Some(Err(_)) => {
                was_dropped = true;
                continue;
            }
            None if mem::take(&mut was_dropped) => continue,
            None => break,
        };
        tracing::warn!(engine = pid, "{line}");
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    Vec::from(kept).join(" | ")
}
