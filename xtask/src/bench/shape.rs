//! `cargo xtask bench --shape NAME`: the engine against mlx-lm on random weights in the shape of a published model.
//!
//! Needs no download of a model, and no daemon: both get token numbers. With `--packed` it runs where there is neither
//! cargo nor a network, from a folder that `--pack` filled: on a machine with a GPU, whose MLX the loader must find.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::crowd::FAKE_ENGINE;
use super::engine::{Answer, Engine};
use super::figures::{Samples, places};
use super::mlx_lm::{Cast, MlxLm};
use crate::command;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::workspace::cargo;
use crate::{daemon, reference, setup};

/// Name → `config.json`.
const SHAPES: &str = include_str!("shapes.json");

const SCRIPTS: [(&str, &str); 2] =
    [("candidate.py", include_str!("candidate.py")), ("random_weights.py", include_str!("random_weights.py"))];

/// The engine's program.
pub(super) const ENGINE: &str = "talkied-mlx";
const DAEMON: &str = "talkied";

/// What a measurement needs, wherever it comes from.
pub(super) struct Tools {
    /// Holds the scripts and the weights.
    folder: PathBuf,
    /// Where the engine and the daemon are.
    pub(super) programs: PathBuf,
    /// The one with mlx-lm.
    pub(super) python: PathBuf,
}

impl Tools {
    /// Of this checkout, built where they are not.
    pub(super) fn here() -> Result<Self> {
        let setup::Setup { workspace, cache } = setup::run(None)?;
        let folder = workspace.target.join("bench/shapes");
        write_scripts(&folder)?;
        Ok(Self { programs: daemon::build(&workspace)?, python: reference::python(&cache)?, folder })
    }

    /// Of a folder that [`pack`] filled, with the `python3` and the MLX that the environment names.
    pub(super) fn packed(folder: &Path) -> Result<Self> {
        // Programs are started from elsewhere too.
        let folder = fs::canonicalize(folder).map_err(Error::io("find", folder))?;
        Ok(Self { programs: folder.clone(), python: "python3".into(), folder })
    }
}

/// How much is asked.
struct Plan {
    rounds: u32,
    /// Tokens of the short prompt and of the answer to it.
    short: [u32; 2],
    /// The same of the long one.
    long: [u32; 2],
}

impl Plan {
    /// A processor takes a second for what a GPU does in a millisecond.
    fn of(device: &str, quick: bool) -> Self {
        let rounds = if quick { 2 } else { 5 };
        if device.starts_with("cpu") {
            return Self { rounds, short: [16, 16], long: [128, 4] };
        }
        Self { rounds, short: [128, 256], long: [2048, 128] }
    }
}

/// Measures in this checkout.
pub fn run(shape: &str, quick: bool) -> Result<()> {
    let config = config(shape)?;
    measure(&Tools::here()?, shape, &config, quick)
}

/// Measures from a packed folder.
pub fn run_packed(shape: &str, quick: bool, folder: &Path) -> Result<()> {
    measure(&Tools::packed(folder)?, shape, &config(shape)?, quick)
}

/// Fills `folder` with what `--packed` needs, this program included.
pub fn pack(folder: &Path) -> Result<()> {
    let setup::Setup { workspace, .. } = setup::run(None)?;
    let programs = daemon::build(&workspace)?;
    let more = ["-p", "xtask", "-p", "talkied-tests", "--bin", "xtask", "--bin", FAKE_ENGINE];
    command::visible(cargo().current_dir(&workspace.root).args(["build", "--release"]).args(more))?;
    write_scripts(folder)?;
    for program in [ENGINE, DAEMON, FAKE_ENGINE, "xtask"] {
        let (from, to) = (programs.join(program), folder.join(program));
        fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
        // Names for the debugger are ten times the program.
        command::output(Command::new("strip").arg("--strip-debug").arg(&to))?;
    }
    Ok(())
}

/// What `config.json` says of a shape.
pub(super) fn config(shape: &str) -> Result<Value> {
    let mut shapes: serde_json::Map<String, Value> = serde_json::from_str(SHAPES).expect("the table of shapes is JSON");
    shapes.remove(shape).ok_or_else(|| {
        let known: Vec<&str> = shapes.keys().map(String::as_str).collect();
        Error::Unexpected(format!("no shape is called {shape:?}; known are {}", known.join(", ")))
    })
}

fn write_scripts(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    for (name, text) in SCRIPTS {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

/// The folder with the weights, written the first time.
fn weights(tools: &Tools, shape: &str, config: &Value) -> Result<PathBuf> {
    draw(tools, shape, &[&config.to_string()])
}

/// The same with a tokenizer, which has a token for each word of `text`, and no token that ends an answer.
pub(super) fn weights_with_words(tools: &Tools, shape: &str, text: &str) -> Result<PathBuf> {
    draw(tools, &format!("{shape}-with-words"), &[&config(shape)?.to_string(), text])
}

fn draw(tools: &Tools, name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let folder = tools.folder.join(name);
    if !folder.exists() {
        eprintln!("drawing the weights of {name}");
        let unfinished = tools.folder.join(format!("{name}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
        }
        let mut draw = Command::new(&tools.python);
        command::visible(draw.arg(tools.folder.join("random_weights.py")).arg(&unfinished).args(arguments))?;
        fs::rename(&unfinished, &folder).map_err(Error::io("rename", &unfinished))?;
    }
    Ok(folder)
}

fn measure(tools: &Tools, shape: &str, config: &Value, quick: bool) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let folder = weights(tools, shape, config)?;
    let script = tools.folder.join("candidate.py");
    let mut engine = Engine::new(tools.programs.join(ENGINE), &folder);
    engine.load()?;
    // On a processor 16-bit scales would cost mlx-lm a factor of ten to forty.
    let cast = if engine.description().starts_with("cpu") { Cast::Float32 } else { Cast::Half };
    let mut mlx_lm = MlxLm::start(&tools.python, &script, &folder, cast)?;
    mlx_lm.load_ms()?;
    let plan = Plan::of(&engine.description(), quick);
    let vocabulary = config["vocab_size"].as_u64().expect("every shape has it") as u32;
    let mut contest =
        Contest { plan, vocabulary, ours: Figures::default(), theirs: Figures::default(), same: Samples::default() };
    contest.warm(&mut engine, &mut mlx_lm)?;
    for round in 1..=contest.plan.rounds {
        eprintln!("round {round} of {}", contest.plan.rounds);
        contest.round(round, &mut engine, &mut mlx_lm, &interrupt)?;
    }
    contest.print(shape, &engine.description(), &mlx_lm.versions());
    Ok(())
}

#[derive(Default)]
struct Figures {
    load_ms: Samples,
    first_token_ms: Samples,
    decode_short: Samples,
    prefill: Samples,
    decode_long: Samples,
    build_ms: Samples,
}

struct Contest {
    plan: Plan,
    vocabulary: u32,
    ours: Figures,
    theirs: Figures,
    /// Tokens at the beginning of an answer that both gave alike, as a share of it.
    same: Samples,
}

impl Contest {
    /// What is not counted: compiling, paging in, the first allocation of every size.
    fn warm(&self, engine: &mut Engine, mlx_lm: &mut MlxLm) -> Result<()> {
        for [prompt, _] in [self.plan.short, self.plan.long] {
            engine.generate(&self.prompt(prompt, 0), 4)?;
            mlx_lm.generate_after(&self.prompt(prompt, 0), 4)?;
        }
        Ok(())
    }

    fn round(&mut self, round: u32, engine: &mut Engine, mlx_lm: &mut MlxLm, interrupt: &Interrupt) -> Result<()> {
        for [prompt, tokens] in [self.plan.short, self.plan.long] {
            interrupt.check()?;
            let ids = self.prompt(prompt, round);
            let Answer { generation: ours, build_ms, .. } = engine.generate(&ids, tokens)?;
            let theirs = mlx_lm.generate_after(&ids, tokens)?;
            let same = ours.answer.iter().zip(&theirs.answer).take_while(|(a, b)| a == b).count();
            self.same.push(same as f64 / f64::from(tokens));
            for (figures, generation) in [(&mut self.ours, ours), (&mut self.theirs, theirs)] {
                if [prompt, tokens] == self.plan.short {
                    figures.first_token_ms.push(generation.first_token_ms);
                    figures.decode_short.push(generation.decode_tokens_per_s);
                } else {
                    figures.prefill.push(generation.prefill_tokens_per_s);
                    figures.decode_long.push(generation.decode_tokens_per_s);
                }
            }
            if [prompt, tokens] == self.plan.short {
                self.ours.build_ms.push(build_ms);
            }
        }
        self.ours.load_ms.push(engine.load()?);
        self.theirs.load_ms.push(mlx_lm.load_ms()?);
        self.warm(engine, mlx_lm)
    }

    /// Numbers without a pattern, others in each round.
    fn prompt(&self, tokens: u32, round: u32) -> Vec<u32> {
        let number = |place: u32| (u64::from(place) * 2_654_435_761 + u64::from(round) * 40_503) >> 7;
        (1..=tokens).map(|place| (number(place) % u64::from(self.vocabulary)) as u32).collect()
    }

    fn print(&self, shape: &str, engine: &str, reference: &str) {
        let Plan { rounds, short, long } = &self.plan;
        println!("{shape}, random weights, 4 bits in groups of 64; {rounds} rounds in turns; median (least–most)");
        println!("talkied-mlx on {engine}; {reference}\n");
        println!("{:44}{:>24}{:>24}{:>10}", "", "talkied-mlx", "mlx-lm", "better by");
        let more = |ours: f64, theirs: f64| ours / theirs;
        let less = |ours: f64, theirs: f64| theirs / ours;
        let row = |name: &str, figure: fn(&Figures) -> &Samples, better: fn(f64, f64) -> f64| {
            let (ours, theirs) = (figure(&self.ours), figure(&self.theirs));
            let factor = ours.median().zip(theirs.median()).map(|(ours, theirs)| better(ours, theirs));
            let factor = factor.map_or_else(String::new, |factor| format!("× {factor:.*}", places(factor)));
            println!("{name:44}{:>24}{:>24}{factor:>10}", ours.to_string(), theirs.to_string());
        };
        row(&format!("decode tokens/s, {} after {}", short[1], short[0]), |figures| &figures.decode_short, more);
        row(&format!("decode tokens/s, {} after {}", long[1], long[0]), |figures| &figures.decode_long, more);
        row(&format!("prefill tokens/s, {} tokens", long[0]), |figures| &figures.prefill, more);
        row(&format!("first token ms, {} tokens", short[0]), |figures| &figures.first_token_ms, less);
        row("load ms", |figures| &figures.load_ms, less);
        println!("{:44}{:>24}", "building a step's graph, ms", self.ours.build_ms.to_string());
        println!("{:44}{:>24}", "share of answers that begins alike", self.same.to_string());
    }
}
