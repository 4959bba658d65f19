//! llama.cpp as `llama_cpp.py` runs it: with one GGUF file, or packing one anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::json;

use super::contest::Generation;
use super::pipe::Pipe;
use crate::cache::Cache;
use crate::command;
use crate::error::Result;

const SCRIPT: &str = include_str!("llama_cpp.py");

/// A running script; ends when dropped.
pub struct LlamaCpp {
    pipe: Pipe,
}

impl LlamaCpp {
    /// Starts it and waits until the file is loaded.
    pub fn start(python: &Path, file: &Path, threads: usize) -> Result<Self> {
        let mut script = Command::new(python);
        script.args(["-c", SCRIPT, "run"]).arg(file).arg(threads.to_string());
        let mut pipe = Pipe::start("llama.cpp", script)?;
        pipe.read::<Ready>()?;
        Ok(Self { pipe })
    }

    /// The likeliest `tokens` tokens after the tokens of `prompt`. Nothing of an earlier prompt is kept.
    pub fn generate(&mut self, prompt: &[u32], tokens: u32) -> Result<Generation> {
        self.pipe.ask(&json!({ "prompt": prompt, "tokens": tokens }))
    }
}

/// The first line of a script that runs a file.
#[derive(Deserialize)]
struct Ready {}

/// The version of what binds it to Python, which says which llama.cpp it is.
pub fn version(python: &Path) -> Result<String> {
    let mut ask = Command::new(python);
    ask.args(["-c", "import importlib.metadata as m; print(m.version('llama-cpp-python'))"]);
    Ok(command::output(&mut ask)?.trim().to_owned())
}

/// The published file in another kind of blocks, made once.
pub fn packed(cache: &Cache, python: &Path, published: &Path, kind: &str) -> Result<PathBuf> {
    let name = format!("SmolLM2-135M-Instruct.{kind}.gguf");
    let folder = cache.get_or_make(&format!("smollm2-{kind}-1"), |folder| {
        eprintln!("making {name}");
        let mut quantize = Command::new(python);
        quantize.args(["-c", SCRIPT, "quantize"]).arg(published).arg(kind).arg(folder.join(&name));
        command::output(&mut quantize).map(|_| ())
    })?;
    Ok(folder.join(name))
}
