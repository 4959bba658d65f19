//! Streams of an engine with steps of ten milliseconds: what the daemon adds to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::client::Asker;
use super::floor;
use super::processor::time_of;
use super::{Client, Crowd, FAKE_ENGINE, Plan, Questions};
use crate::bench::Extent;
use crate::bench::connection::Connection;
use crate::command;
use crate::daemon::Daemon;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::workspace::{Workspace, cargo};

const MODEL: &str = "bench/steps";
/// Of every step, however many sequences get a token by it.
pub(super) const STEP_MS: u32 = 10;

/// Streams at once.
const LEVELS: [u32; 4] = [1, 4, 16, 64];

/// The daemon and the engine with known steps, as they are released.
pub(super) struct Programs(PathBuf);

impl Programs {
    /// Those of a folder that was packed, else builds them, and nothing of MLX.
    pub(super) fn of(packed: Option<&Path>) -> Result<Self> {
        if let Some(folder) = packed {
            // They are started from elsewhere too.
            return fs::canonicalize(folder).map(Self).map_err(Error::io("find", folder));
        }
        let workspace = Workspace::find()?;
        let packages = ["-p", "talkied", "-p", "talkied-tests", "--bin", "talkied", "--bin", FAKE_ENGINE];
        command::visible(cargo().current_dir(&workspace.root).args(["build", "--release"]).args(packages))?;
        Ok(Self(workspace.target.join("release")))
    }

    /// A daemon with one model that behaves like this.
    pub(super) fn start(&self, batch: u32, behaviour: &Value, interrupt: &Interrupt) -> Result<Daemon> {
        let mut daemon = Daemon::start_of(&self.0, &self.engine(), &["--batch", &batch.to_string()])?;
        daemon.wait_until_listening(interrupt)?;
        self.install(&daemon, MODEL, behaviour)?;
        Ok(daemon)
    }

    /// Gives it one more model.
    pub(super) fn install(&self, daemon: &Daemon, model: &str, behaviour: &Value) -> Result<()> {
        let install = ["install".as_ref(), daemon.folder().as_os_str()];
        command::output(Command::new(self.engine()).args(install).args([model, &behaviour.to_string()])).map(drop)
    }

    fn engine(&self) -> PathBuf {
        self.0.join(FAKE_ENGINE)
    }
}

/// A client of that model.
pub(super) fn open(daemon: &Daemon, tokens: u32, prompt: fn(u32) -> String) -> Result<Asker> {
    let options = json!({ "temperature": 0, "max_tokens": tokens });
    Ok(Asker::new(Connection::open(daemon)?, MODEL, prompt, &options))
}

/// Prints a table.
pub fn run(programs: &Programs, plan: &Plan, interrupt: &Interrupt) -> Result<()> {
    let tokens = if plan.extent == Extent::Quick { 100 } else { 500 };
    println!("an engine with steps of {STEP_MS} ms, {tokens} tokens a stream");
    println!(
        "{:>8}{:>12}{:>9}{:>26}{:>20}",
        "streams", "tokens/s", "of ideal", "daemon, µs CPU a token", "first token p99 ms"
    );
    for streams in plan.levels(&LEVELS) {
        interrupt.check()?;
        let behaviour = json!({ "token_ms": STEP_MS, "repeat": 1000 });
        let daemon = programs.start(streams.max(64), &behaviour, interrupt)?;
        let open = |_| open(&daemon, tokens, |_| "steps".into());
        // The model is loaded, and every stage was run once.
        open(0)?.ask(0)?;
        let before = time_of(daemon.pid())?;
        let crowd = Crowd::run(streams, Questions { first: 0, each: 1 }, open)?;
        let spent = time_of(daemon.pid())?.saturating_sub(before);
        let ideal = f64::from(streams) * 1000.0 / f64::from(STEP_MS);
        let rate = crowd.stream_rate();
        println!(
            "{streams:>8}{rate:>12.1}{:>8.1}%{:>26.1}{:>20.1}",
            rate / ideal * 100.0,
            spent.as_secs_f64() * 1e6 / crowd.tokens(),
            crowd.waits().quantile(0.99).unwrap_or(0.0)
        );
    }
    if let Some(least) = floor::of(STEP_MS, tokens)? {
        println!(
            "a thread that only takes a message each {STEP_MS} ms from one process and writes one to another takes {least:.1} µs \
             of CPU for it"
        );
    }
    // One line apart from the next table.
    println!();
    Ok(())
}
