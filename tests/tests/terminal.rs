//! A terminal with talkiectl at it: what is typed, what is seen.

use std::process::Command;

use rexpect::process::WaitStatus;
use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};

/// Longest that anything may take to be seen, in milliseconds.
const PATIENCE_MS: u64 = 60_000;

/// Keys that are no letters.
pub const UP: &str = "\u{1b}[A";
pub const HOME: &str = "\u{1}";
pub const END: &str = "\u{5}";

/// A person at a terminal.
pub struct Terminal {
    session: PtySession,
}

/// Whether escape sequences are seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Text,
    Escapes,
}

impl Terminal {
    /// Runs a command at a terminal of so many columns, which echoes what is typed.
    pub fn new(command: &Command, columns: u16, seen: Seen) -> Self {
        let mut inner = Command::new("sh");
        inner.arg("-c").arg(format!("stty echo rows 24 cols {columns}; exec \"$0\" \"$@\""));
        inner.arg(command.get_program()).args(command.get_args());
        inner.env("TERM", "xterm-256color").env_remove("COLUMNS");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inner.env(name, value),
                None => inner.env_remove(name),
            };
        }
        let options = Options::new().timeout_ms(Some(PATIENCE_MS)).strip_ansi_escape_codes(seen == Seen::Text);
        Self { session: spawn_with_options(inner, options).expect("the command starts") }
    }

    /// Types, without Enter.
    pub fn keys(&mut self, keys: &str) {
        self.session.send(keys).expect("the terminal takes keys");
        self.session.flush().expect("the terminal takes keys");
    }

    /// Types a line.
    pub fn line(&mut self, text: &str) {
        self.keys(text);
        self.keys("\r");
    }

    /// Ctrl and a letter.
    pub fn control(&mut self, letter: char) {
        self.session.send_control(letter).expect("the terminal takes keys");
    }

    /// Sends the command a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let terminal = self.session.process().get_file_handle().expect("the terminal is open");
        let reader = rustix::termios::tcgetpgrp(&terminal).expect("somebody reads it");
        rustix::process::kill_process_group(reader, signal).expect("it takes signals");
    }

    /// Waits until a text is seen, and returns what stood before it.
    pub fn sees(&mut self, text: &str) -> String {
        self.session.exp_string(text).unwrap_or_else(|error| panic!("{text:?} is seen: {error}"))
    }

    /// Whether the terminal shows what is typed.
    pub fn echoes(&self) -> bool {
        let terminal = self.session.process().get_file_handle().expect("the terminal is open");
        let settings = rustix::termios::tcgetattr(&terminal).expect("it has settings");
        settings.local_modes.contains(rustix::termios::LocalModes::ECHO)
    }

    /// Waits for the end, and returns the exit code and the last that is seen.
    pub fn ends(&mut self) -> (i32, String) {
        let seen = self.session.exp_eof().expect("it ends");
        match self.session.process().wait().expect("it has ended") {
            WaitStatus::Exited(_, code) => (code, seen),
            other => panic!("it was ended: {other:?}"),
        }
    }
}
