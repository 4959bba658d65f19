//! One answer: asked through `talkiectl generate --json`, shown as it streams, measured by the daemon's own figures.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::command;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// What the daemon measured of one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// From the request's arrival to its first token.
    pub first_token_ms: f64,
    /// The part of that which was spent loading the model.
    pub load_ms: f64,
    /// Tokens after the first, per second.
    pub tokens_per_s: f64,
    /// Tokens of the answer.
    pub tokens: u32,
}

/// Asks, prints the answer while it comes, and returns its figures.
pub fn ask(mut client: Command, interrupt: &Interrupt) -> Result<Answer> {
    let mut child = client.stdout(Stdio::piped()).spawn().map_err(command::start_error(&client))?;
    let stdout = child.stdout.take().expect("the output is piped");
    let answer = read(BufReader::new(stdout), &mut std::io::stdout(), interrupt);
    if answer.is_err() {
        let _ = child.kill(); // it may have ended by itself
    }
    let status = child.wait().map_err(command::start_error(&client))?;
    interrupt.check()?;
    let answer = answer?;
    if !status.success() {
        return Err(Error::Shown { code: status.code() });
    }
    answer.ok_or_else(|| Error::Unexpected("the answer has no end".into()))
}

/// Copies the answer's text to `out` and returns the figures of its last event.
fn read(events: impl BufRead, out: &mut impl Write, interrupt: &Interrupt) -> Result<Option<Answer>> {
    let mut answer = None;
    for line in events.lines() {
        let line = line.map_err(|source| Error::Io { action: "read the answer".into(), source })?;
        interrupt.check()?;
        match parse(&line)? {
            Event::Text { text } => show(out, &text)?,
            Event::Finished { usage, timings } => {
                show(out, "\n")?;
                answer = Some(figures(&usage, &timings));
            }
            Event::Failed { error } => return Err(Error::Unexpected(format!("the answer failed: {error}"))),
            Event::Other => {}
        }
    }
    Ok(answer)
}

fn parse(line: &str) -> Result<Event> {
    serde_json::from_str(line).map_err(|error| Error::Unexpected(format!("`{line}` is no event: {error}")))
}

fn show(out: &mut impl Write, text: &str) -> Result<()> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|source| Error::Io { action: "write the answer".into(), source })
}

fn figures(usage: &Usage, timings: &Timings) -> Answer {
    Answer {
        first_token_ms: timings.first_token_ms,
        load_ms: timings.load_ms,
        tokens_per_s: timings.decode_tokens_per_s,
        tokens: usage.completion_tokens,
    }
}

/// The part of the protocol's events that the demo shows; `protocol` itself would make every task wait for its build.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Text {
        text: String,
    },
    Finished {
        usage: Usage,
        timings: Timings,
    },
    Failed {
        error: serde_json::Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: u32,
}

#[derive(Deserialize)]
struct Timings {
    load_ms: f64,
    first_token_ms: f64,
    decode_tokens_per_s: f64,
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
