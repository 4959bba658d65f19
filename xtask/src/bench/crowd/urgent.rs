//! Somebody who waits for an answer, beside a batch that nobody waits for: how long it is to the first token.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Programs, open};
use super::{Client, Crowd, Questions};
use crate::bench::Extent;
use crate::bench::connection::Connection;
use crate::bench::figures::Samples;
use crate::daemon::Daemon;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Requests of the background, all of them at once.
const BATCH: u32 = 32;
const STEP_MS: u64 = 10;

/// The prompt of the one that waits, in pieces.
const PIECES: u64 = 3;
const PIECE_MS: u64 = 5;

const POLL: Duration = Duration::from_millis(10);

/// Prints how long it waits, on an idle machine and beside the batch.
pub fn run(programs: &Programs, extent: Extent, interrupt: &Interrupt) -> Result<()> {
    let questions = if extent == Extent::Quick { 10 } else { 50 };
    let behaviour =
        json!({ "token_ms": STEP_MS, "prefill_ms": PIECE_MS, "prefill_chunk": 10, "repeat": 1000, "weight_bytes": 1 });
    let daemon = programs.start(BATCH, &behaviour, interrupt)?;
    let urgent = open(&daemon, 2, |_| "x".repeat(10 * PIECES as usize + 1))?;
    let mut urgent = urgent.with_priority("interactive");
    let mut wait = || (0..questions).map(|_| Ok(urgent.ask(0)?.wait_s() * 1000.0)).collect::<Result<Samples>>();
    // The model is loaded.
    open(&daemon, 2, |_| "x".into())?.ask(0)?;
    let alone = wait()?;
    // So long that they go on while all questions are asked.
    let tokens = questions * 10;
    let beside = thread::scope(|scope| {
        let each = Questions { first: 0, each: 1 };
        let open = |_| Ok(open(&daemon, tokens, |_| "steps".into())?.with_priority("background"));
        let crowd = scope.spawn(move || Crowd::run(BATCH, each, open));
        wait_for_all(&daemon, interrupt)?;
        let beside = wait()?;
        let was_beside = running(&daemon)? == u64::from(BATCH);
        crowd.join().map_err(|_| Error::Unexpected("a client of the bench panicked".into()))??;
        let words = "the background batch ended before all was measured";
        if was_beside { Ok(beside) } else { Err(Error::Unexpected(words.into())) }
    })?;
    let own = PIECES * PIECE_MS + STEP_MS;
    println!(
        "an interactive request of {own} ms, and a background batch of {BATCH} with steps of {STEP_MS} ms: first token, ms"
    );
    println!("{:>8}{:>12}{:>12}", "", "idle", "beside");
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |waits: &Samples| waits.quantile(share).unwrap_or(0.0);
        println!("{name:>8}{:>12.1}{:>12.1}", of(&alone), of(&beside));
    }
    println!();
    Ok(())
}

fn wait_for_all(daemon: &Daemon, interrupt: &Interrupt) -> Result<()> {
    while running(daemon)? < u64::from(BATCH) {
        interrupt.check()?;
        thread::sleep(POLL);
    }
    Ok(())
}

/// Requests that the engine has begun.
fn running(daemon: &Daemon) -> Result<u64> {
    let status: Value = Connection::open(daemon)?.call("daemon.status", &json!({}))?;
    Ok(status["residents"][0]["residency"]["running"].as_u64().unwrap_or(0))
}
