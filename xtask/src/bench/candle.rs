//! `cargo xtask bench --candle`: Candle's engine and llama.cpp on the same GGUF files, with as many threads, in turns.
//!
//! Both get token numbers, and as many threads as `RAYON_NUM_THREADS` says, or the processor has cores: on a busy machine
//! one each says more, since threads that wait for each other wait for strangers too. The files are SmolLM2-135M as it is published, and packed anew by llama.cpp.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::json;

use super::Extent;
use super::contest::Generation;
use super::engine::Engine;
use super::figures::{Samples, places};
use super::machine::Machine;
use super::pairs::{self, Side};
use super::pipe::Pipe;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::model::Model;
use crate::workspace::{Workspace, cargo};
use crate::{command, llama};

const SCRIPT: &str = include_str!("llama_cpp.py");

const ENGINE: &str = "talkied-candle";

/// What llama.cpp is asked to pack the model as.
const KINDS: [&str; 2] = ["Q8_0", "Q4_K_M"];

const VOCABULARY: u64 = 49_152;

/// Tokens of a prompt and of the answer to it: for decoding, for the prompt itself, for decoding far into a context.
const DECODE: [u32; 2] = [16, 64];
const PREFILL: [u32; 2] = [512, 1];
const FAR: [u32; 2] = [1024, 32];

/// What a row shows of an answer.
type Figure = fn(&Generation) -> f64;

/// Measures and prints the table.
pub fn run(extent: Extent) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let (workspace, cache) = (Workspace::find()?, Cache::open()?);
    command::visible(cargo().current_dir(&workspace.root).args(["build", "--release", "-p", ENGINE]))?;
    let engine = workspace.target.join("release").join(ENGINE);
    let python = llama::python(&cache)?;
    let published = Model::Smollm2.get(&cache)?;
    let machine = Machine::look(&workspace.root)?;
    // Candle reads it too.
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|count| count.parse().ok()).unwrap_or(machine.cores);
    println!("SmolLM2-135M on {}, {threads} threads, load {}", machine.cpu, machine.load_average);
    println!("{:36}{:>22}{:>22}{:>20}", "tokens/s, median (least–most)", ENGINE, "llama.cpp", "ratio");
    let mut files = vec![published.clone()];
    for kind in KINDS {
        files.push(packed(&cache, &python, &published, kind)?);
    }
    let rounds = if extent == Extent::Quick { 3 } else { 9 };
    for file in files {
        println!("{}", file.file_name().unwrap_or_default().display());
        compare(&engine, &python, &file, threads, rounds, &interrupt)?;
    }
    Ok(())
}

/// The published file in another kind of blocks, made once.
fn packed(cache: &Cache, python: &Path, published: &Path, kind: &str) -> Result<PathBuf> {
    let name = format!("SmolLM2-135M-Instruct.{kind}.gguf");
    let folder = cache.get_or_make(&format!("smollm2-{kind}-1"), |folder| {
        eprintln!("making {name}");
        let mut quantize = Command::new(python);
        quantize.args(["-c", SCRIPT, "quantize"]).arg(published).arg(kind).arg(folder.join(&name));
        command::output(&mut quantize).map(|_| ())
    })?;
    Ok(folder.join(name))
}

fn compare(
    engine: &Path,
    python: &Path,
    file: &Path,
    threads: usize,
    rounds: u32,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut ours = Engine::new(engine.to_owned(), file);
    ours.load()?;
    let mut theirs = Llama::start(python, file, threads)?;
    let rows: [(&str, [u32; 2], Figure); 3] = [
        ("decode, 64 after 16", DECODE, |generation| generation.decode_tokens_per_s),
        ("prefill, 512", PREFILL, |generation| generation.prefill_tokens_per_s),
        ("decode, 32 after 1024", FAR, |generation| generation.decode_tokens_per_s),
    ];
    for (name, [length, tokens], figure) in rows {
        let [candle, llama] = pairs::measure(rounds, interrupt, |side, round| {
            let prompt = prompt(length, round);
            let generation = match side {
                Side::First => ours.generate(&prompt, tokens)?.0,
                Side::Second => theirs.pipe.ask(&json!({ "prompt": prompt, "tokens": tokens }))?,
            };
            Ok(figure(&generation.of_length(tokens, name)?))
        })?;
        print(name, &candle, &llama);
    }
    Ok(())
}

fn print(name: &str, candle: &Samples, llama: &Samples) {
    let ratio = candle.over(llama);
    let middle = ratio.median().unwrap_or_default();
    let ratio = format!(
        "× {middle:.*} ({:.2}–{:.2})",
        places(middle),
        ratio.least().unwrap_or_default(),
        ratio.most().unwrap_or_default()
    );
    println!("  {name:34}{:>22}{:>22}{ratio:>20}", candle.to_string(), llama.to_string());
}

/// llama.cpp with one file.
struct Llama {
    pipe: Pipe,
}

impl Llama {
    fn start(python: &Path, file: &Path, threads: usize) -> Result<Self> {
        #[derive(Deserialize)]
        struct Hello {
            version: String,
        }
        let mut script = Command::new(python);
        script.args(["-c", SCRIPT, "run"]).arg(file).arg(threads.to_string());
        let mut pipe = Pipe::start("llama.cpp", script)?;
        let Hello { version } = pipe.read()?;
        if version.is_empty() {
            return Err(Error::Unexpected("llama.cpp has no version".into()));
        }
        Ok(Self { pipe })
    }
}

/// Numbers without a pattern, others in each round, so that nothing of an earlier prompt is of use.
fn prompt(tokens: u32, round: u32) -> Vec<u32> {
    let number = |place: u32| (u64::from(place) * 2_654_435_761 + u64::from(round) * 4_050_300_007) >> 7;
    (1..=tokens).map(|place| (number(place) % VOCABULARY) as u32).collect()
}
