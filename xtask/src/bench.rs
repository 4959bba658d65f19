//! `cargo xtask bench`: talkied and mlx-lm on the same weights, the same prompts and the same machine, in one run.
//!
//! These are figures, not tests: nothing fails because it is slow, only because it could not be measured. What is
//! compared is measured in turns, since other programs use the machine as well. In reading order: [`contest`] takes
//! the turns of [`talkied`] and [`mlx_lm`], [`held`] and [`cold`] take pairs of turns, [`alone`] measures what only a
//! daemon has, [`report`] shows all of it.

mod alone;
pub mod candle;
mod cold;
mod connection;
mod contest;
pub mod crowd;
mod engine;
mod figures;
mod held;
pub mod library;
mod llama_cpp;
mod machine;
mod memory;
mod mlx_lm;
mod pairs;
mod pipe;
mod prompt;
mod report;
pub mod shape;
mod talkied;

use std::fs;
use std::path::{Path, PathBuf};

use crate::daemon::{self, Daemon};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::model::Model;
use crate::reference;
use crate::setup::{self, Setup};
use crate::workspace::Workspace;

use alone::Alone;
use connection::Connection;
use contest::{Candidate, Standing};
use machine::Machine;
use mlx_lm::{Cast, MlxLm};
use report::Report;
use talkied::Talkied;

/// How long the bench may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// For the order of magnitude.
    Quick,
    /// For figures to be quoted.
    Full,
}

/// What the measurements need.
struct Bench<'a> {
    extent: Extent,
    interrupt: &'a Interrupt,
    programs: PathBuf,
    python: PathBuf,
    script: PathBuf,
    gguf: PathBuf,
    report: Report,
}

/// Measures, prints the table, writes the JSON; fails when a figure is missing.
pub fn run(extent: Extent) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let Setup { workspace, cache } = setup::run(None)?;
    let mut bench = Bench {
        extent,
        interrupt: &interrupt,
        programs: daemon::build(&workspace)?,
        python: reference::python(&cache)?,
        script: workspace.root.join("xtask/src/bench/candidate.py"),
        gguf: Model::Smollm2.get(&cache)?,
        report: Report::new(Machine::look(&workspace.root)?),
    };
    let measured = bench.measure();
    interrupt.check()?;
    if let Err(error) = measured {
        bench.report.problem("the rest", &error);
    }
    println!("{}", bench.report);
    write(&workspace, &bench.report)?;
    match bench.report.problems.len() {
        0 => Ok(()),
        count => Err(Error::Unexpected(format!("{count} of the measurements failed"))),
    }
}

impl Bench<'_> {
    fn measure(&mut self) -> Result<()> {
        eprintln!("measuring the time to listen");
        let listening = alone::listening(&self.programs, self.starts(), self.interrupt);
        let listening = self.report.keep("the time to listen", listening);

        let mut daemon = Daemon::start(&self.programs)?;
        daemon.wait_until_listening(self.interrupt)?;
        let mut connection = Connection::open(&daemon)?;
        eprintln!("measuring pings and memory");
        let ping = alone::ping(&mut connection);
        let ping = self.report.keep("ping", ping);
        let idle = self.report.keep("the idle daemon's memory", memory::of(daemon.pid()));
        self.report.alone = Alone { ping, listening, idle, ..Alone::default() };

        eprintln!("importing {}", self.gguf.display());
        let result = self.compare(&daemon, connection);
        if result.is_err() && self.interrupt.check().is_ok() {
            daemon.show_log();
        }
        result
    }

    fn compare(&mut self, daemon: &Daemon, mut connection: Connection) -> Result<()> {
        let model = connection.import(&self.gguf)?;
        self.report.machine.talkied = connection.version()?;
        let start = |cast| MlxLm::start(&self.python, &self.script, &model.path, cast);
        let mut talkied = Standing::new(Talkied::new(connection, model.id.clone()));
        let mut others = [Standing::new(start(Cast::Float32)?), Standing::new(start(Cast::Half)?)];
        self.report.model.clone_from(&model.id);
        self.report.machine.reference = others[0].candidate.versions();
        for other in &mut others {
            contest::prepare(other)?;
        }
        contest::prepare(&mut talkied)?;
        let plan = contest::Plan::of(self.extent);
        let contested = contest::run(&plan, &mut talkied, &mut others, self.interrupt);
        let engine = talkied.candidate.engine();
        self.report.alone.resident = self.report.keep("the resident daemon's memory", memory::of(daemon.pid()));
        self.report.alone.engine = self.report.keep("the engine's memory", engine.and_then(memory::of));
        eprintln!("measuring output control and cold starts");
        let held = held::measure(&mut talkied.candidate, self.extent, self.interrupt);
        self.report.held = self.report.keep("decoding held to a schema", held);
        // What takes seconds for a token is no peer for the first one.
        let cast = if others[1].candidate.is_slow() { Cast::Float32 } else { Cast::Half };
        let cold = cold::measure(&mut talkied.candidate, || start(cast), self.extent, self.interrupt);
        self.report.cold = self.report.keep("cold starts", cold);
        self.report.contest(plan, talkied, others);
        contested
    }

    fn starts(&self) -> usize {
        if self.extent == Extent::Quick { 5 } else { 25 }
    }
}

fn write(workspace: &Workspace, report: &Report) -> Result<()> {
    let folder = workspace.target.join("bench");
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let json = serde_json::to_string_pretty(report).expect("a report can be written");
    let dated = folder.join(format!("{}.json", report.machine.date));
    for path in [&dated, &folder.join("latest.json")] {
        write_file(path, &json)?;
    }
    eprintln!("the figures are in {}", dated.display());
    Ok(())
}

fn write_file(path: &Path, json: &str) -> Result<()> {
    fs::write(path, json).map_err(Error::io("write", path))
}
