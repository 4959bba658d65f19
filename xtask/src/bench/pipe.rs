//! A Python script of a peer, spoken to in lines of JSON: a request in, an answer out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::command;
use crate::error::{Error, Result};

/// A running script; ends when dropped.
pub struct Pipe {
    name: &'static str,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Pipe {
    /// Starts it. `name` is what errors call it.
    pub fn start(name: &'static str, mut script: Command) -> Result<Self> {
        let mut child =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(command::start_error(&script))?;
        let requests = child.stdin.take().expect("the input is piped");
        let answers = BufReader::new(child.stdout.take().expect("the output is piped"));
        Ok(Self { name, child, requests, answers })
    }

    /// Its answer to `request`.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T> {
        let written = writeln!(self.requests, "{request}");
        written.map_err(|source| Error::Io { action: format!("ask {}", self.name), source })?;
        self.read()
    }

    /// Its next line.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let (name, mut line) = (self.name, String::new());
        let length = self.answers.read_line(&mut line);
        if length.map_err(|source| Error::Io { action: format!("read {name}"), source })? == 0 {
            return Err(Error::Unexpected(format!("{name} ended; what it said stands above")));
        }
        serde_json::from_str(&line).map_err(|error| Error::Unexpected(format!("{name} said ({error}): {line}")))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // Either fails only when the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
