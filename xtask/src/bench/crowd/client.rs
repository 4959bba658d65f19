//! A client of the daemon's: a connection of its own, and a stream of tokens.

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
    /// Asks `model` for `tokens` likeliest tokens after a prompt, with what else is in `more`.
    pub fn new(connection: Connection, model: &str, tokens: u32, prompt: fn(u32) -> String, more: &Value) -> Self {
        let options = json!({ "temperature": 0, "max_tokens": tokens });
        let mut request = json!({ "model": model, "options": options, "keep_alive": "forever" });
        for (key, value) in more.as_object().into_iter().flatten() {
            request[key] = value.clone();
        }
        Self { connection, request, prompt }
    }
}

impl Client for Asker {
    fn ask(&mut self, question: u32) -> Result<Seen> {
        self.request["prompt"] = (self.prompt)(question).into();
        let asked = Instant::now();
        self.connection.call::<Value>("generate.stream", &self.request)?;
        let mut first = None;
        loop {
            let event: Value = self.connection.event()?;
            match event["type"].as_str() {
                // A character may take several tokens.
                Some("text") => {
                    first.get_or_insert_with(Instant::now);
                }
                Some("finished") => {
                    let last = Instant::now();
                    let tokens = event["usage"]["completion_tokens"].as_u64().unwrap_or(0) as u32;
                    return Ok(Seen { asked, first: first.unwrap_or(last), last, tokens });
                }
                Some("failed") => return Err(Error::Unexpected(format!("generate.stream failed: {event}"))),
                _ => {}
            }
        }
    }
}
