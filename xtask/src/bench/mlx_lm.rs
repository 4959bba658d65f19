//! mlx-lm as a candidate: a process of the reference environment that stays up, as a server of it would.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::contest::{Candidate, Generation};
use crate::command;
use crate::error::{Error, Result};

/// What the weights are cast to after they were loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// float32, which a CPU computes forty times faster.
    Float32,
    /// The type of the scales, in which published folders have all floating-point weights. An imported one has some
    /// in float32 as well, with which MLX computes everything in float32.
    Half,
}

/// A running `candidate.py`; ends when dropped.
pub struct MlxLm {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    hello: Hello,
    /// Empty before the first load.
    dtype: String,
}

/// The first line of `candidate.py`.
#[derive(Deserialize)]
struct Hello {
    mlx_lm: String,
    mlx: String,
    device: String,
}

impl MlxLm {
    /// Starts it and waits until its imports are done.
    pub fn start(python: &Path, script: &Path, folder: &Path, cast: Cast) -> Result<Self> {
        let cast_name = match cast {
            Cast::Float32 => "float32",
            Cast::Half => "half",
        };
        let mut command = Command::new(python);
        command.arg(script).arg(folder).arg(cast_name).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(command::start_error(&command))?;
        let requests = child.stdin.take().expect("the input is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("the output is piped"));
        let hello = read(&mut answers).inspect_err(|_| end(&mut child))?;
        Ok(Self { child, requests, answers, hello, dtype: String::new() })
    }

    /// What it is made of.
    pub fn versions(&self) -> String {
        format!("mlx-lm {}, mlx {}, {}", self.hello.mlx_lm, self.hello.mlx, self.hello.device)
    }

    /// Type of the activations, known after the first load.
    pub fn dtype(&self) -> &str {
        &self.dtype
    }

    /// Loads the model anew and returns the milliseconds that it took.
    pub fn load_ms(&mut self) -> Result<f64> {
        #[derive(Deserialize)]
        struct Loaded {
            load_ms: f64,
            dtype: String,
        }
        let loaded: Loaded = self.ask(&json!({ "do": "load" }))?;
        self.dtype = loaded.dtype;
        Ok(loaded.load_ms)
    }

    /// The likeliest `tokens` tokens after the tokens of `prompt`.
    pub fn generate_after(&mut self, prompt: &[u32], tokens: u32) -> Result<Generation> {
        self.ask(&json!({ "do": "generate", "prompt": prompt, "tokens": tokens }))
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T> {
        let written = writeln!(self.requests, "{request}");
        written.map_err(|source| Error::Io { action: "ask mlx-lm".into(), source })?;
        read(&mut self.answers)
    }
}

impl Candidate for MlxLm {
    fn name(&self) -> String {
        format!("mlx-lm in {}", self.dtype)
    }

    fn load(&mut self) -> Result<f64> {
        self.load_ms()
    }

    fn generate(&mut self, prompt: &str, tokens: u32) -> Result<Generation> {
        self.ask(&json!({ "do": "generate", "prompt": prompt, "tokens": tokens }))
    }

    /// MLX's CPU backend emulates half precision.
    fn is_slow(&self) -> bool {
        self.hello.device.contains("cpu") && self.dtype != "float32"
    }
}

impl Drop for MlxLm {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Either fails only when the process has ended.
    let _ = child.kill();
    let _ = child.wait();
}

fn read<T: DeserializeOwned>(answers: &mut impl BufRead) -> Result<T> {
    let mut line = String::new();
    let length = answers.read_line(&mut line).map_err(|source| Error::Io { action: "read mlx-lm".into(), source })?;
    if length == 0 {
        return Err(Error::Unexpected("mlx-lm ended; what it said stands above".into()));
    }
    serde_json::from_str(&line).map_err(|error| Error::Unexpected(format!("mlx-lm said ({error}): {line}")))
}
