//! An engine's program as the daemon runs it: its standard input is one end of a pair of sockets.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Program, Stdio};

use engine::frame;
use engine::message::{Command, Event, FinishReason, TokenId, VERSION};

pub struct Engine {
    pub socket: UnixStream,
    child: Child,
    /// Results that were told and are not yet taken.
    told: VecDeque<Event>,
}

impl Engine {
    pub fn start(program: &str) -> Self {
        let (socket, other) = UnixStream::pair().unwrap();
        let child = Program::new(program).stdin(Stdio::from(OwnedFd::from(other))).spawn().unwrap();
        let mut engine = Self { socket, child, told: VecDeque::new() };
        assert_eq!(engine.next(), Event::Hello { version: VERSION });
        engine
    }

    pub fn send(&mut self, command: &Command) {
        frame::write(&mut self.socket, command).unwrap();
    }

    fn next(&mut self) -> Event {
        frame::read(&mut self.socket).unwrap().expect("the engine still speaks")
    }

    /// Skips what tells of progress.
    pub fn result(&mut self) -> Event {
        if let Some(event) = self.told.pop_front() {
            return event;
        }
        loop {
            match self.next() {
                Event::Needs(_) | Event::Loading { .. } | Event::Prefill { .. } | Event::Memory(_) => {}
                event => return event,
            }
        }
    }

    /// All tokens of the sequence that tells of itself first. What others tell meanwhile comes after.
    pub fn tokens(&mut self) -> (Vec<TokenId>, FinishReason) {
        let (mut tokens, mut ours, mut others) = (Vec::new(), None, VecDeque::new());
        loop {
            let event = self.result();
            let sequence = match &event {
                Event::Token { sequence, .. } => *sequence,
                Event::Finished(finished) => finished.sequence,
                event => panic!("{event:?}"),
            };
            match event {
                event if *ours.get_or_insert(sequence) != sequence => others.push_back(event),
                Event::Token { id, .. } => tokens.push(id),
                Event::Finished(finished) => {
                    others.append(&mut self.told);
                    self.told = others;
                    return (tokens, finished.reason);
                }
                event => panic!("{event:?}"),
            }
        }
    }

    pub fn end(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}
