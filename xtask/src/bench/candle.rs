//! `cargo xtask bench --candle`: Candle's engine, llama.cpp and MLX's engine on the same weights, in turns.
//!
//! All get token numbers. Candle's engine and llama.cpp read the same GGUF file, with one thread and then with one for each
//! processor: on a busy machine the former says more, since threads that wait for each other wait for strangers too. MLX's
//! reads what the daemon makes of the file, and takes part only where it can, with the threads that it chooses itself. The
//! files are SmolLM2-135M as it is published, and packed anew by llama.cpp.

mod table;

use std::path::Path;

use super::Extent;
use super::connection::Connection;
use super::contest::Generation;
use super::engine::Engine;
use super::llama_cpp::{self, LlamaCpp};
use super::machine::Machine;
use super::pairs;
use crate::daemon::{self, Daemon};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::model::Model;
use crate::setup::{self, Setup};
use crate::workspace::Workspace;

use self::table::Row;

const CANDLE: &str = "talkied-candle";
const MLX: &str = "talkied-mlx";

/// What llama.cpp is asked to pack the model as.
const KINDS: [&str; 2] = ["Q8_0", "Q4_K_M"];

const VOCABULARY: u64 = 49_152;

/// What each side is asked to do.
#[derive(Debug, Clone, Copy)]
struct Task {
    name: &'static str,
    /// Tokens of the prompt, and of the answer to it.
    prompt: u32,
    tokens: u32,
    /// What the row shows of an answer.
    figure: fn(&Generation) -> f64,
}

const TASKS: [Task; 3] = [
    Task { name: "decode, 64 after 16", prompt: 16, tokens: 64, figure: |answer| answer.decode_tokens_per_s },
    Task { name: "prefill, 512", prompt: 512, tokens: 1, figure: |answer| answer.prefill_tokens_per_s },
    Task { name: "decode, 32 after 1024", prompt: 1024, tokens: 32, figure: |answer| answer.decode_tokens_per_s },
];

/// Those who take turns.
#[derive(Debug, Clone, Copy)]
enum Side {
    Candle,
    LlamaCpp,
    Mlx,
}

struct Bench<'a> {
    programs: &'a Path,
    python: &'a Path,
    rounds: u32,
    interrupt: &'a Interrupt,
}

/// The programs with one file.
struct Sides {
    candle: Engine,
    llama_cpp: LlamaCpp,
    mlx: Option<Engine>,
}

/// Measures and prints the table, a row as soon as it is known.
pub fn run(extent: Extent) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let Setup { workspace, cache } = setup::run(None)?;
    let (programs, python) = (daemon::build(&workspace)?, crate::llama::python(&cache)?);
    let mut files = vec![("Q4_1", Model::Smollm2.get(&cache)?)];
    for kind in KINDS {
        files.push((kind, llama_cpp::packed(&cache, &python, &files[0].1, kind)?));
    }
    // Keeps what it imports until all is measured, and has nothing to do meanwhile.
    let mut daemon = Daemon::start(&programs)?;
    daemon.wait_until_listening(&interrupt)?;
    let mut connection = Connection::open(&daemon)?;
    let rounds = if extent == Extent::Quick { 3 } else { 9 };
    let machine = Machine::look(&workspace.root)?;
    println!("{}\n\n{}", header(&workspace, &machine, &llama_cpp::version(&python)?, rounds)?, table::HEADING);
    let bench = Bench { programs: &programs, python: &python, rounds, interrupt: &interrupt };
    let mut notes = Vec::new();
    for (packing, file) in &files {
        interrupt.check()?;
        let mut mlx = bench.mlx(&mut connection, packing, file)?;
        notes.extend(mlx.as_ref().map(|mlx| note(packing, mlx)));
        // MLX's engine cannot be held to one thread.
        let one = (machine.cores > 1).then_some((1, None));
        for (threads, mlx) in one.into_iter().chain([(machine.cores, mlx.take())]) {
            bench.compare(packing, file, threads, mlx)?;
        }
    }
    println!("\n{}", notes.join("\n"));
    Ok(())
}

impl Bench<'_> {
    /// MLX's engine with what the daemon makes of `file`; none where that stays a GGUF file, which it does not read.
    fn mlx(&self, connection: &mut Connection, packing: &str, file: &Path) -> Result<Option<Engine>> {
        let folder = connection.import_as(file, &format!("bench/{packing}"))?.path;
        if folder.join("model.gguf").exists() {
            return Ok(None);
        }
        let mut engine = Engine::new(self.programs.join(MLX), &folder);
        engine.load()?;
        Ok(Some(engine))
    }

    fn compare(&self, packing: &str, file: &Path, threads: usize, mlx: Option<Engine>) -> Result<()> {
        let mut candle = Engine::new(self.programs.join(CANDLE), file).with_threads(threads);
        candle.load()?;
        let mut sides = Sides { candle, llama_cpp: LlamaCpp::start(self.python, file, threads)?, mlx };
        for (place, task) in (0..).zip(TASKS) {
            eprintln!("{packing}, threads: {threads}, {}", task.name);
            let turns: &[Side] = match sides.mlx {
                Some(_) => &[Side::Candle, Side::LlamaCpp, Side::Mlx],
                None => &[Side::Candle, Side::LlamaCpp],
            };
            let samples = pairs::turns(turns, self.rounds, self.interrupt, |side, round| {
                let (length, tokens) = asked(task, round);
                let prompt = prompt(length, place * (self.rounds + 1) + round);
                let answer = sides.generate(side, &prompt, tokens)?.of_length(tokens, task.name)?;
                Ok((task.figure)(&answer))
            })?;
            let mut samples = samples.into_iter();
            let mut next = || samples.next();
            let (candle, llama_cpp) = (next().unwrap_or_default(), next().unwrap_or_default());
            let row = Row { packing: packing.into(), threads, task: task.name, candle, llama_cpp, mlx: next() };
            println!("{row}");
        }
        Ok(())
    }
}

impl Sides {
    fn generate(&mut self, side: Side, prompt: &[u32], tokens: u32) -> Result<Generation> {
        match side {
            Side::Candle => anew(&mut self.candle, CANDLE, prompt, tokens),
            Side::LlamaCpp => self.llama_cpp.generate(prompt, tokens),
            Side::Mlx => {
                let mlx = self.mlx.as_mut().ok_or_else(|| Error::Unexpected(format!("{MLX} has no model")))?;
                anew(mlx, MLX, prompt, tokens)
            }
        }
    }
}

/// An answer to a prompt of which nothing was there. Both engines may keep prompts, and a figure of one that was kept is none.
fn anew(engine: &mut Engine, name: &str, prompt: &[u32], tokens: u32) -> Result<Generation> {
    let answer = engine.generate(prompt, tokens)?;
    if answer.kept_tokens == 0 {
        return Ok(answer.generation);
    }
    let (kept, all) = (answer.kept_tokens, prompt.len());
    Err(Error::Unexpected(format!("{name} had {kept} of the {all} tokens of a prompt before it was asked")))
}

/// Tokens of the prompt and of the answer. The first round, which is not counted, need only touch everything.
fn asked(task: Task, round: u32) -> (u32, u32) {
    if round == 0 { (task.prompt.min(64), task.tokens.min(4)) } else { (task.prompt, task.tokens) }
}

/// Numbers without a pattern. Prompts with different numbers begin differently, so that nothing of one is of use for another.
fn prompt(tokens: u32, number: u32) -> Vec<u32> {
    let rest = |place: u32| (u64::from(place) * 2_654_435_761 + u64::from(number) * 4_050_300_007) >> 7;
    std::iter::once(number).chain((1..tokens).map(|place| (rest(place) % VOCABULARY) as u32)).collect()
}

fn header(workspace: &Workspace, machine: &Machine, llama_cpp: &str, rounds: u32) -> Result<String> {
    let Machine { commit, cpu, cores, os, load_average, .. } = machine;
    let (candle, mlx) = (&workspace.candle_version, setup::mlx_version(workspace)?);
    Ok(format!(
        "SmolLM2-135M-Instruct, {rounds} rounds in turns, each with prompts of its own; ratios are of the turns of a round.\n\
         talkied {commit} with Candle {candle} and MLX {mlx}, llama.cpp of llama-cpp-python {llama_cpp}.\n\
         {cpu}, cores: {cores}, {os}, load before: {load_average}.\n\
         {CANDLE} and llama.cpp read the GGUF file, with the threads of the row. {MLX} reads what the daemon imports of it,\n\
         with as many threads as it finds processors; it cannot be told a number, and so has no rows of one thread where\n\
         there are more. `—`: not measured, for that reason or because it does not read the packing."
    ))
}

/// What MLX's engine made of the weights: on a Linux processor it unpacks those of a small model.
fn note(packing: &str, mlx: &Engine) -> String {
    let (place, megabytes) = (mlx.description(), mlx.weight_bytes() / 1_000_000);
    format!("{MLX}, {packing}: {place}, {megabytes} MB of weights in memory")
}

#[cfg(test)]
#[path = "candle_tests.rs"]
mod tests;
