//! A client of the daemon's: a connection of its own, and a stream of tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Client, Seen};
use crate::bench::connection::Connection;
use crate::error::{Error, Result};

/// What it asks, whatever the question's number.
pub struct Asker {
    connection: Connection,
    request: Value,
    prompt: fn(u32) -> String,
}

impl Asker {
    /// Asks `model` with these options.
    pub fn new(connection: Connection, model: &str, prompt: fn(u32) -> String, options: &Value) -> Self {
        let request = json!({ "model": model, "options": options, "keep_alive": "forever" });
        Self { connection, request, prompt }
    }

    /// Behind this system prompt.
    pub fn with_system(mut self, prompt: &str) -> Self {
        self.request["options"]["system_prompt"] = prompt.into();
        self
    }

    /// With this urgency.
    pub fn with_priority(mut self, priority: &str) -> Self {
        self.request["priority"] = priority.into();
        self
    }
}

impl Client for Asker {
    fn ask(&mut self, question: u32) -> Result<Seen> {
        let asked = Instant::now();
        self.begin(question)?;
        let mut first = None;
        loop {
            match self.next()? {
                Event::Text => {
                    first.get_or_insert_with(Instant::now);
                }
                Event::Finished { tokens } => {
                    let last = Instant::now();
                    return Ok(Seen { asked, first: first.unwrap_or(last), last, tokens, knocks: 0 });
                }
                Event::Other => {}
            }
        }
    }
}

/// What a stream tells.
enum Event {
    /// A character may take several tokens.
    Text,
    Finished {
        tokens: u32,
    },
    Other,
}

impl Asker {
    /// Asks, and waits for the first piece of the answer.
    pub fn start(&mut self, question: u32) -> Result<()> {
        self.begin(question)?;
        loop {
            match self.next()? {
                Event::Text => return Ok(()),
                Event::Finished { .. } => return Err(Error::Unexpected("an answer has no text".into())),
                Event::Other => {}
            }
        }
    }

    /// When each further piece came, until it is the last or `enough`; the answer ends with its connection.
    pub fn watch(mut self, enough: &AtomicBool) -> Result<Vec<Instant>> {
        let mut times = Vec::new();
        while !enough.load(Ordering::Relaxed) {
            match self.next()? {
                Event::Text => times.push(Instant::now()),
                Event::Finished { .. } => break,
                Event::Other => {}
            }
        }
        Ok(times)
    }

    fn begin(&mut self, question: u32) -> Result<()> {
        self.request["prompt"] = (self.prompt)(question).into();
        self.connection.call::<Value>("generate.stream", &self.request).map(|_| ())
    }

    fn next(&mut self) -> Result<Event> {
        let event: Value = self.connection.event()?;
        match event["type"].as_str() {
            Some("text") => Ok(Event::Text),
            Some("finished") => {
                Ok(Event::Finished { tokens: event["usage"]["completion_tokens"].as_u64().unwrap_or(0) as u32 })
            }
            Some("failed") => Err(Error::Unexpected(format!("generate.stream failed: {event}"))),
            _ => Ok(Event::Other),
        }
    }
}
