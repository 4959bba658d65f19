//! `cargo xtask test`: everything that must pass before a change lands, in order of time it takes to fail.
//!
//! The tests come last and nothing is printed after them, so that the output ends with cargo's own result lines.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::command;
use crate::error::Result;
use crate::llama;
use crate::model::Model;
use crate::nvrtc;
use crate::reference;
use crate::room;
use crate::setup::{self, Setup};
use crate::workspace::cargo;

/// Runs all stages, and stops at the first that fails.
pub fn run() -> Result<()> {
    room::check()?;
    let Setup { workspace, cache } = stage("set-up", || setup::run(None))?;
    let root = workspace.root.as_path();
    stage("format", || command::visible(in_root(root).args(["fmt", "--all", "--check"])))?;
    stage("clippy", || {
        let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        command::visible(in_root(root).args(clippy))
    })?;
    if command::find("cargo-deny").is_some() {
        stage("deny", || command::visible(in_root(root).args(["deny", "check", "licenses", "bans", "sources"])))?;
    } else {
        eprintln!("[deny] left out: cargo-deny is not installed (cargo install cargo-deny)");
    }
    stage("programs", || command::visible(in_root(root).args(["build", "--workspace", "--bins"])))?;
    let model = stage("model", || Model::Smollm2.get(&cache))?;
    let sentences = stage("sentence model", || Model::Minilm.get(&cache))?;
    let python = stage("reference", || reference::python(&cache))?;
    let llama = stage("llama.cpp", || llama::python(&cache))?;
    let mut tests = in_root(root);
    // NVIDIA has none for macOS.
    if cfg!(target_os = "linux") {
        tests.env("TALKIE_TEST_NVRTC", stage("NVIDIA's compiler", || nvrtc::library(&cache))?);
    }
    // What was built has taken its part.
    room::check()?;
    eprintln!("[tests]");
    tests.args(["test", "--workspace"]);
    command::visible(
        tests
            .env("TALKIE_TEST_MODEL_GGUF", model)
            .env("TALKIE_TEST_SENTENCE_MODEL", sentences)
            .env("TALKIE_TEST_REFERENCE_PYTHON", python)
            .env("TALKIE_TEST_LLAMA_PYTHON", llama),
    )
}

fn in_root(root: &Path) -> Command {
    let mut cargo = cargo();
    cargo.current_dir(root);
    cargo
}

fn stage<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("[{name}]");
    let started = Instant::now();
    let result = work();
    let outcome = if result.is_ok() { "passed" } else { "failed" };
    eprintln!("[{name}] {outcome} in {:.1} s", started.elapsed().as_secs_f32());
    result
}
