//! The loop of an engine process: one thread reads commands, the main thread owns the backend.
//!
//! The backend is built, used and dropped on the thread that calls [`run`]. Between two steps the loop takes the
//! commands that have arrived, so a cancel waits for one step at most.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError, sync_channel};
use std::time::Instant;

use crate::backend::{Backend, Step};
use crate::frame;
use crate::message::{Command, Event, Failure, FailureKind, FinishReason, Finished, SequenceId, Submission, VERSION};

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
    run_on(socket.try_clone()?, socket, backend)
}

/// Serves over any pair of streams. A lost daemon ends the *process*, even in the middle of a long step.
fn run_on(commands: impl Read + Send + 'static, events: impl Write, backend: impl Backend) -> io::Result<()> {
    let (sender, receiver) = sync_channel(COMMANDS);
    std::thread::Builder::new().name("commands".into()).spawn(move || {
        let mut commands = commands;
        while let Ok(Some(command)) = frame::read(&mut commands) {
            let last = command == Command::Unload;
            if sender.send(command).is_err() || last {
                return;
            }
        }
        std::process::exit(0);
    })?;
    Engine { backend, commands: receiver, events, waiting: VecDeque::new() }.run()
}

struct Engine<B, W> {
    backend: B,
    commands: Receiver<Command>,
    events: W,
    /// Submitted and not yet begun, oldest first.
    waiting: VecDeque<Submission>,
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
                Some(submission) => {
                    if let Next::End = self.generate(&submission)? {
                        return Ok(());
                    }
                }
                None => match self.commands.recv() {
                    Ok(command) => {
                        if let Next::End = self.take(command, None, &mut false)? {
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

    /// Runs one sequence to its end and reports it.
    fn generate(&mut self, submission: &Submission) -> io::Result<Next> {
        let mut next = Next::GoOn;
        let event = match self.steps(submission, &mut next)? {
            Ok(finished) => Event::Finished(finished),
            Err(failure) => Event::Failed { sequence: submission.sequence, failure },
        };
        self.send(&event)?;
        self.send(&Event::Memory(self.backend.memory()))?;
        Ok(next)
    }

    fn steps(&mut self, submission: &Submission, next: &mut Next) -> io::Result<Result<Finished, Failure>> {
        if submission.prompt.is_empty() || submission.max_tokens == 0 {
            let failure = Failure::new(FailureKind::Internal, "a submission needs a prompt and room for one token");
            return Ok(Err(failure));
        }
        let id = submission.sequence;
        let mut sequence = match self.backend.begin(submission) {
            Ok(sequence) => sequence,
            Err(failure) => return Ok(Err(failure)),
        };
        let begun = Instant::now();
        let (mut first, mut last) = (begun, begun);
        let mut count = 0;
        let reason = loop {
            let mut cancelled = false;
            if let Next::End = self.take_arrived(id, &mut cancelled)? {
                *next = Next::End;
                cancelled = true;
            }
            if cancelled {
                break FinishReason::Cancelled;
            }
            match self.backend.step(&mut sequence) {
                Err(failure) => return Ok(Err(failure)),
                Ok(Step::Prefill { done }) => {
                    let total = submission.prompt.len() as u32;
                    self.send(&Event::Prefill { sequence: id, done, total })?;
                }
                Ok(step @ (Step::Token(token) | Step::Last(token))) => {
                    last = Instant::now();
                    if count == 0 {
                        first = last;
                    }
                    if submission.stop_tokens.contains(&token) {
                        break FinishReason::Stop;
                    }
                    count += 1;
                    self.send(&Event::Token { sequence: id, id: token })?;
                    if matches!(step, Step::Last(_)) {
                        break FinishReason::Stop;
                    }
                    if count == submission.max_tokens {
                        break FinishReason::Length;
                    }
                }
            }
        };
        Ok(Ok(Finished {
            sequence: id,
            reason,
            prompt_tokens: submission.prompt.len() as u32,
            completion_tokens: count,
            prefill_us: (first - begun).as_micros() as u64,
            decode_us: (last - first).as_micros() as u64,
        }))
    }

    fn take_arrived(&mut self, running: SequenceId, cancelled: &mut bool) -> io::Result<Next> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if let Next::End = self.take(command, Some(running), cancelled)? {
                        return Ok(Next::End);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(Next::GoOn),
                Err(TryRecvError::Disconnected) => return Ok(Next::End),
            }
        }
    }

    fn take(&mut self, command: Command, running: Option<SequenceId>, cancelled: &mut bool) -> io::Result<Next> {
        match command {
            Command::Submit(submission) => self.waiting.push_back(submission),
            Command::Cancel(sequence) if running == Some(sequence) => *cancelled = true,
            Command::Cancel(sequence) => self.cancel_waiting(sequence)?,
            // The daemon sends one load, first; a second would be a fault of its own.
            Command::Load(_) | Command::Unload => return Ok(Next::End),
        }
        Ok(Next::GoOn)
    }

    /// A sequence that has not begun ends without having been computed.
    fn cancel_waiting(&mut self, sequence: SequenceId) -> io::Result<()> {
        let Some(place) = self.waiting.iter().position(|waiting| waiting.sequence == sequence) else { return Ok(()) };
        let prompt_tokens = self.waiting.remove(place).map_or(0, |waiting| waiting.prompt.len() as u32);
        let reason = FinishReason::Cancelled;
        let finished = Finished { sequence, reason, prompt_tokens, completion_tokens: 0, prefill_us: 0, decode_us: 0 };
        self.send(&Event::Finished(finished))
    }

    fn send(&mut self, event: &Event) -> io::Result<()> {
        frame::write(&mut self.events, event)
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
