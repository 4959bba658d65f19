//! Streams of an engine with steps of ten milliseconds: what the daemon adds to them.

use std::process::Command;

use serde_json::json;

use super::client::Asker;
use super::processor::time_of;
use super::{Client, Crowd};
use crate::bench::Extent;
use crate::bench::connection::Connection;
use crate::command;
use crate::daemon::{self, Daemon};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::setup::{self, Setup};
use crate::workspace::cargo;

const ENGINE: &str = "fake-engine";
const MODEL: &str = "bench/steps";
const STEP_MS: u32 = 10;

/// Streams at once.
const LEVELS: [u32; 4] = [1, 4, 16, 64];

/// Prints a table.
pub fn run(extent: Extent, interrupt: &Interrupt) -> Result<()> {
    let Setup { workspace, .. } = setup::run(None)?;
    let programs = daemon::build(&workspace)?;
    let package = ["-p", "talkied-tests", "--bin", ENGINE];
    command::visible(cargo().current_dir(&workspace.root).args(["build", "--release"]).args(package))?;
    let engine = programs.join(ENGINE);
    let tokens = if extent == Extent::Quick { 100 } else { 500 };
    println!("an engine with steps of {STEP_MS} ms, {tokens} tokens a stream");
    println!(
        "{:>8}{:>12}{:>9}{:>26}{:>20}",
        "streams", "tokens/s", "of ideal", "daemon, µs CPU a token", "first token p99 ms"
    );
    for streams in LEVELS {
        interrupt.check()?;
        let mut daemon = Daemon::start_of(&programs, &engine, &["--batch", "64"])?;
        daemon.wait_until_listening(interrupt)?;
        let behaviour = json!({ "token_ms": STEP_MS, "repeat": 1000 }).to_string();
        command::output(Command::new(&engine).arg("install").arg(daemon.folder()).args([MODEL, &behaviour]))?;
        let open = |_| Ok(Asker::new(Connection::open(&daemon)?, MODEL, tokens, |_| "steps".into(), &json!({})));
        // The model is loaded, and every stage was run once.
        open(0)?.ask(0)?;
        let before = time_of(daemon.pid())?;
        let crowd = Crowd::run(streams, 1, open)?;
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
    // One line apart from the next table.
    println!();
    Ok(())
}
