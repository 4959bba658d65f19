//! The loop of an engine process: one thread reads commands, the main thread owns the backend.
//!
//! The backend is built, used and dropped on the thread that calls [`run`]. All work that was submitted and has not ended
//! is served in turns: [`choice`] says who is, [`turn`] does it. Between two turns the loop takes the commands that have
//! arrived, so that new work joins and a cancel is done within one. How much is submitted at once is for the daemon to
//! decide.

mod choice;
mod samples;
mod task;
mod turn;

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use rustix::event::{PollFd, PollFlags, poll};

use crate::backend::Backend;
use crate::frame;
use crate::message::{Command, Event, FinishReason, Priority, SequenceId, VERSION, Work};
use task::{Kind, Task};

/// Commands that may wait between two turns; the reader then stops reading the socket.
const COMMANDS: usize = 64;

/// Serves the daemon at standard input until it says [`Command::Unload`] or goes away.
pub fn run(backend: impl Backend) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if socket.peer_addr().is_err() {
        return Err(io::Error::other(
            "this program is an engine: talkied starts it, and speaks to it at its standard input",
        ));
    }
    run_on(BufReader::new(Waiting(socket.try_clone()?)), socket, backend, || std::process::exit(0))
}

/// Waits in poll(2) for what is to be read. Linux wakes who waits in a read also when the other side has taken what was
/// written, thus once for each token.
struct Waiting(UnixStream);

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None)?;
        self.0.read(buffer)
    }
}

/// Serves over any pair of streams. `gone` is called when the daemon goes away without a word: it ends the *process*,
/// even in the middle of a long step.
fn run_on(
    commands: impl Read + Send + 'static,
    events: impl Write,
    backend: impl Backend,
    gone: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let (sender, arrived) = sync_channel(COMMANDS);
    std::thread::Builder::new().name("commands".into()).spawn(move || {
        let mut commands = commands;
        while let Ok(Some(command)) = frame::read(&mut commands) {
            let last = command == Command::Unload;
            if sender.send(command).is_err() || last {
                return;
            }
        }
        gone();
    })?;
    Engine { backend, commands: arrived, events: BufWriter::new(events), tasks: Vec::new(), held: 0 }.run()
}

struct Engine<B: Backend, W: Write> {
    backend: B,
    commands: Receiver<Command>,
    /// Written at the end of each turn.
    events: BufWriter<W>,
    /// All that has not ended, in the order of submission.
    tasks: Vec<Task<B>>,
    /// Turns for which somebody less urgent has held, one after another.
    held: u32,
}

/// What the loop does after a command.
enum Next {
    GoOn,
    End,
}

impl<B: Backend, W: Write> Engine<B, W> {
    fn run(mut self) -> io::Result<()> {
        self.send(&Event::Hello { version: VERSION })?;
        self.events.flush()?;
        if !self.load()? {
            return Ok(());
        }
        while let Next::GoOn = self.take_arrived()? {
            let served = self.turn()?;
            self.events.flush()?;
            if !served {
                let Ok(command) = self.commands.recv() else { return Ok(()) };
                if let Next::End = self.take(command)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits for the first commands and does them; false when the process has nothing more to do.
    fn load(&mut self) -> io::Result<bool> {
        let Ok(Command::Load(load)) = self.commands.recv() else { return Ok(false) };
        let needs = self.backend.needs(&load);
        let is_known = needs.is_ok();
        self.send(&needs.map_or_else(Event::LoadFailed, Event::Needs))?;
        self.events.flush()?;
        if !is_known || !matches!(self.commands.recv(), Ok(Command::Proceed)) {
            return Ok(false);
        }
        let events = &mut self.events;
        let mut lost = Ok(());
        let loaded = self.backend.load(&load, &mut |done_bytes, total_bytes| {
            if lost.is_ok() {
                let event = Event::Loading { done_bytes, total_bytes };
                lost = frame::write(events, &event).and_then(|()| events.flush());
            }
        });
        lost?;
        let ready = loaded.is_ok();
        self.send(&loaded.map_or_else(Event::LoadFailed, Event::Ready))?;
        if ready {
            self.send(&Event::Memory(self.backend.memory()))?;
        }
        self.events.flush()?;
        Ok(ready)
    }

    fn take_arrived(&mut self) -> io::Result<Next> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if let Next::End = self.take(command)? {
                        return Ok(Next::End);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(Next::GoOn),
                Err(TryRecvError::Disconnected) => return Ok(Next::End),
            }
        }
    }

    fn take(&mut self, command: Command) -> io::Result<Next> {
        match command {
            Command::Submit(work, priority) => self.begin(work, priority)?,
            Command::Pause(sequence) => self.pause(sequence, true),
            Command::Resume(sequence) => self.pause(sequence, false),
            Command::Cancel(sequence) => self.cancel(sequence)?,
            Command::End { sequence, sample } => self.end(sequence, sample)?,
            Command::Trim => {
                self.backend.trim();
                self.send(&Event::Memory(self.backend.memory()))?;
            }
            // The daemon sends one load, first; a second would be a fault of its own.
            Command::Load(_) | Command::Proceed | Command::Unload => return Ok(Next::End),
        }
        Ok(Next::GoOn)
    }

    fn begin(&mut self, work: Work, priority: Priority) -> io::Result<()> {
        let sequence = work.sequence();
        match Task::begin(work, priority, &mut self.backend) {
            Ok(task) => self.tasks.push(task),
            Err(failure) => self.send(&Event::Failed { sequence, failure })?,
        }
        Ok(())
    }

    fn pause(&mut self, sequence: SequenceId, paused: bool) {
        let Some(task) = self.tasks.iter_mut().find(|task| task.sequence == sequence) else { return };
        task.paused = paused;
        if let Kind::Generate(generation) = &mut task.kind
            && paused
        {
            generation.samples.running().for_each(|(_, sequence)| self.backend.rest(sequence));
        }
    }

    fn cancel(&mut self, sequence: SequenceId) -> io::Result<()> {
        // It may have ended while the command was on its way.
        let Some(place) = self.tasks.iter().position(|task| task.sequence == sequence) else { return Ok(()) };
        let finished = self.tasks.remove(place).finished(&self.backend, true);
        self.send(&Event::Finished(finished))?;
        self.send(&Event::Memory(self.backend.memory()))
    }

    fn end(&mut self, sequence: SequenceId, sample: u32) -> io::Result<()> {
        let Self { backend, tasks, .. } = self;
        let Some(place) = tasks.iter().position(|task| task.sequence == sequence) else { return Ok(()) };
        let Kind::Generate(generation) = &mut tasks[place].kind else { return Ok(()) };
        let several = generation.submission.samples > 1;
        let reason = FinishReason::Cancelled;
        let ended = generation.samples.end(sample, reason, backend);
        let finished = tasks[place].is_done().then(|| tasks.remove(place).finished(backend, false));
        if ended && several {
            self.send(&Event::Ended { sequence, sample, reason })?;
        }
        let Some(finished) = finished else { return Ok(()) };
        self.send(&Event::Finished(finished))?;
        self.send(&Event::Memory(self.backend.memory()))
    }

    fn send(&mut self, event: &Event) -> io::Result<()> {
        frame::write(&mut self.events, event)
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
