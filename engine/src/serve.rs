//! The loop of an engine process: one thread reads commands, the main thread owns the backend.
//!
//! The backend is built, used and dropped on the thread that calls [`run`]. Between two steps the loop takes the
//! commands that have arrived, so a cancel waits for one step at most.

mod samples;
mod work;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError, sync_channel};

use crate::backend::Backend;
use crate::frame;
use crate::message::{Command, Event, FinishReason, Finished, SequenceId, VERSION, Work};

/// Commands that may wait between two steps; the reader then stops reading the socket.
const COMMANDS: usize = 64;

/// Serves the daemon at standard input until it says [`Command::Unload`] or goes away.
pub fn run(backend: impl Backend) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if socket.peer_addr().is_err() {
        return Err(io::Error::other(
            "this program is an engine: talkied starts it, and speaks to it at its standard input",
        ));
    }
    run_on(socket.try_clone()?, socket, backend, || std::process::exit(0))
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
    Engine { backend, commands: arrived, events, waiting: VecDeque::new() }.run()
}

struct Engine<B, W> {
    backend: B,
    commands: Receiver<Command>,
    events: W,
    /// Submitted and not yet begun, oldest first.
    waiting: VecDeque<Work>,
}

/// What the commands that arrive between two steps say of the work at hand.
#[derive(Default)]
struct Orders {
    /// To end it.
    cancelled: bool,
    /// To end these of its samples.
    ended: Vec<u32>,
}

/// What the loop does after a command.
enum Next {
    GoOn,
    End,
}

impl<B: Backend, W: Write> Engine<B, W> {
    fn run(mut self) -> io::Result<()> {
        self.send(&Event::Hello { version: VERSION })?;
        if !self.load()? {
            return Ok(());
        }
        loop {
            match self.waiting.pop_front() {
                Some(work) => {
                    if let Next::End = self.work(&work)? {
                        return Ok(());
                    }
                }
                None => match self.commands.recv() {
                    Ok(command) => {
                        if let Next::End = self.take(command, None, &mut Orders::default())? {
                            return Ok(());
                        }
                    }
                    Err(RecvError) => return Ok(()),
                },
            }
        }
    }

    /// Waits for the first command and does it; false when the process has nothing more to do.
    fn load(&mut self) -> io::Result<bool> {
        let Ok(Command::Load(load)) = self.commands.recv() else { return Ok(false) };
        let events = &mut self.events;
        let mut lost = Ok(());
        let loaded = self.backend.load(&load, &mut |done_bytes, total_bytes| {
            if lost.is_ok() {
                lost = frame::write(events, &Event::Loading { done_bytes, total_bytes });
            }
        });
        lost?;
        let ready = loaded.is_ok();
        self.send(&loaded.map_or_else(Event::LoadFailed, Event::Ready))?;
        if ready {
            self.send(&Event::Memory(self.backend.memory()))?;
        }
        Ok(ready)
    }

    /// Does one piece of work to its end and reports it.
    fn work(&mut self, work: &Work) -> io::Result<Next> {
        let mut next = Next::GoOn;
        let done = match work {
            Work::Generate(submission) => self.generate(submission, &mut next)?,
            Work::Embed(embedding) => self.embed(embedding, &mut next)?,
        };
        let sequence = work.sequence();
        self.send(&done.map_or_else(|failure| Event::Failed { sequence, failure }, Event::Finished))?;
        self.send(&Event::Memory(self.backend.memory()))?;
        Ok(next)
    }

    /// Takes the commands that have arrived, and answers what they say of the work at hand.
    fn orders(&mut self, running: SequenceId, next: &mut Next) -> io::Result<Orders> {
        let mut orders = Orders::default();
        if let Next::End = self.take_arrived(running, &mut orders)? {
            *next = Next::End;
            orders.cancelled = true;
        }
        Ok(orders)
    }

    fn take_arrived(&mut self, running: SequenceId, orders: &mut Orders) -> io::Result<Next> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if let Next::End = self.take(command, Some(running), orders)? {
                        return Ok(Next::End);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(Next::GoOn),
                Err(TryRecvError::Disconnected) => return Ok(Next::End),
            }
        }
    }

    fn take(&mut self, command: Command, running: Option<SequenceId>, orders: &mut Orders) -> io::Result<Next> {
        match command {
            Command::Submit(work) => self.waiting.push_back(work),
            Command::Cancel(sequence) if running == Some(sequence) => orders.cancelled = true,
            Command::Cancel(sequence) => self.cancel_waiting(sequence)?,
            Command::End { sequence, sample } if running == Some(sequence) => orders.ended.push(sample),
            // It has ended while the command was on its way.
            Command::End { .. } => {}
            // The daemon sends one load, first; a second would be a fault of its own.
            Command::Load(_) | Command::Unload => return Ok(Next::End),
        }
        Ok(Next::GoOn)
    }

    /// A sequence that has not begun ends without having been computed.
    fn cancel_waiting(&mut self, sequence: SequenceId) -> io::Result<()> {
        let Some(place) = self.waiting.iter().position(|waiting| waiting.sequence() == sequence) else { return Ok(()) };
        let prompt_tokens = self.waiting.remove(place).map_or(0, |waiting| waiting.prompt_tokens());
        let reason = FinishReason::Cancelled;
        let finished = Finished {
            sequence,
            reason,
            prompt_tokens,
            completion_tokens: 0,
            prefill_us: 0,
            decode_us: 0,
            build_us: 0,
        };
        self.send(&Event::Finished(finished))
    }

    fn send(&mut self, event: &Event) -> io::Result<()> {
        frame::write(&mut self.events, event)
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
