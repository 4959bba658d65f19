//! talkied as a candidate: everything over its socket, measured by the figures it gives its callers.

use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Connection;
use super::contest::{Candidate, Generation};
use crate::error::{Error, Result};

/// A model of a running daemon.
pub struct Talkied {
    connection: Connection,
    model: String,
}

impl Talkied {
    /// Over a connection that is used for nothing else.
    pub fn new(connection: Connection, model: String) -> Self {
        Self { connection, model }
    }

    /// The process of the engine that holds the model.
    pub fn engine(&mut self) -> Result<u32> {
        let model: Value = self.connection.call("models.get", &json!({ "model": self.model }))?;
        let pid = model["residency"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.ok_or_else(|| Error::Unexpected(format!("no engine holds {}: {model}", self.model)))
    }

    /// Ends the engine, so that the next request starts one.
    pub fn unload(&mut self) -> Result<()> {
        let model = json!({ "model": self.model });
        self.connection.call::<Value>("models.unload", &model).map(|_| ())
    }

    /// Answers like [`Candidate::generate`], held to a `response_format` where there is one.
    pub fn answer(&mut self, prompt: &str, tokens: u32, response_format: Option<&Value>) -> Result<Generation> {
        let options = json!({ "temperature": 0, "max_tokens": tokens });
        let mut request = json!({ "model": self.model, "prompt": prompt, "options": options, "keep_alive": "forever" });
        if let Some(format) = response_format {
            request["response_format"] = format.clone();
        }
        self.connection.call::<Value>("generate.stream", &request)?;
        loop {
            match self.connection.event()? {
                Event::Finished { usage, timings } => return Ok(figures(&usage, &timings)),
                Event::Failed { error } => return Err(Error::Unexpected(format!("generate.stream failed: {error}"))),
                Event::Other => {}
            }
        }
    }
}

impl Candidate for Talkied {
    fn name(&self) -> String {
        "talkied".into()
    }

    fn load(&mut self) -> Result<f64> {
        self.unload()?;
        let load = json!({ "model": self.model, "keep_alive": "forever" });
        let started = Instant::now();
        self.connection.call::<Value>("models.load", &load)?;
        Ok(started.elapsed().as_secs_f64() * 1000.0)
    }

    fn generate(&mut self, prompt: &str, tokens: u32) -> Result<Generation> {
        self.answer(prompt, tokens, None)
    }

    /// The engine casts to what its device is quick with.
    fn is_slow(&self) -> bool {
        false
    }
}

fn figures(usage: &Usage, timings: &Timings) -> Generation {
    Generation {
        prompt_tokens: usage.prompt_tokens,
        tokens: usage.completion_tokens,
        first_token_ms: timings.first_token_ms,
        prefill_tokens_per_s: timings.prefill_tokens_per_s,
        decode_tokens_per_s: timings.decode_tokens_per_s,
        answer: Vec::new(),
    }
}

/// What the bench needs of the protocol's events; `protocol` itself would make every task wait for its build.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Finished {
        usage: Usage,
        timings: Timings,
    },
    Failed {
        error: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
}

#[derive(Deserialize)]
struct Timings {
    first_token_ms: f64,
    prefill_tokens_per_s: f64,
    decode_tokens_per_s: f64,
}
