//! mlx-lm as a candidate: a process of the reference environment that stays up, as a server of it would.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::json;

use super::contest::{Candidate, Generation};
use super::pipe::Pipe;
use crate::error::Result;

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
    pipe: Pipe,
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
        command.arg(script).arg(folder).arg(cast_name);
        let mut pipe = Pipe::start("mlx-lm", command)?;
        let hello = pipe.read()?;
        Ok(Self { pipe, hello, dtype: String::new() })
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
        let loaded: Loaded = self.pipe.ask(&json!({ "do": "load" }))?;
        self.dtype = loaded.dtype;
        Ok(loaded.load_ms)
    }

    /// The likeliest `tokens` tokens after the tokens of `prompt`.
    pub fn generate_after(&mut self, prompt: &[u32], tokens: u32) -> Result<Generation> {
        self.pipe.ask(&json!({ "do": "generate", "prompt": prompt, "tokens": tokens }))
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
        self.pipe.ask(&json!({ "do": "generate", "prompt": prompt, "tokens": tokens }))
    }

    /// MLX's CPU backend emulates half precision.
    fn is_slow(&self) -> bool {
        self.hello.device.contains("cpu") && self.dtype != "float32"
    }
}
