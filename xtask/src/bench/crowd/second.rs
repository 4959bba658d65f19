//! A stream that decodes while a second model is loaded: its tokens per second, and its longest gap, before and meanwhile.
//!
//! mlx-lm's server has one model at a time, so it is no peer here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Asker;
use super::fake::{Programs, STEP_MS, open};
use super::stage::{Stage, short};
use crate::bench::connection::Connection;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

const SECOND: &str = "bench/second";

/// More than are made before it is loaded.
const TOKENS: u32 = 7000;

/// The same of the engine with known steps, whose models hold 4096.
const STEPS: u32 = 3000;

/// How long the stream is watched before.
const BEFORE: Duration = Duration::from_secs(2);
/// And after, for the gap in which the load ends.
const AFTER: Duration = Duration::from_secs(1);

/// Prints both, of the real engine.
pub fn run(stage: &Stage, interrupt: &Interrupt) -> Result<()> {
    let mut connection = Connection::open(&stage.daemon)?;
    connection.call::<Value>("models.import", &json!({ "path": stage.weights.folder, "model": SECOND }))?;
    let (times, load) = watch(stage.endless(TOKENS, short)?, &mut connection)?;
    interrupt.check()?;
    connection.call::<Value>("models.unload", &json!({ "model": SECOND }))?;
    println!();
    print(&times, load)
}

/// Prints both of an engine with known steps, whose loads take a second and no processor: what a gap has beyond a step is the
/// daemon's own.
pub fn of_steps(programs: &Programs, interrupt: &Interrupt) -> Result<()> {
    let daemon = programs.start(1, &json!({ "token_ms": STEP_MS, "repeat": 1000 }), interrupt)?;
    programs.install(&daemon, SECOND, &json!({ "load_steps": 100, "load_step_ms": 10 }))?;
    let (times, load) = watch(open(&daemon, STEPS, |_| "steps".into())?, &mut Connection::open(&daemon)?)?;
    interrupt.check()?;
    println!("an engine with steps of {STEP_MS} ms");
    print(&times, load)?;
    // One line apart from the next table.
    println!();
    Ok(())
}

/// Has the second model loaded while somebody reads a stream; when its pieces came.
fn watch(mut stream: Asker, connection: &mut Connection) -> Result<(Vec<Instant>, Load)> {
    stream.start(99)?;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| stream.watch(&ended));
        let load = load(connection);
        ended.store(true, Ordering::Relaxed);
        let times = watching.join().map_err(|_| Error::Unexpected("a client of the bench panicked".into()))?;
        Ok((times?, load?))
    })
}

/// When it began and ended, and since when the stream was watched before.
#[derive(Clone, Copy)]
struct Load {
    watched: Instant,
    begin: Instant,
    end: Instant,
}

fn load(connection: &mut Connection) -> Result<Load> {
    let watched = Instant::now();
    thread::sleep(BEFORE);
    let begin = Instant::now();
    connection.call::<Value>("models.load", &json!({ "model": SECOND }))?;
    let end = Instant::now();
    thread::sleep(AFTER);
    Ok(Load { watched, begin, end })
}

fn print(times: &[Instant], Load { watched, begin, end }: Load) -> Result<()> {
    if times.last().is_none_or(|last| *last < end) {
        return Err(Error::Unexpected("the stream ended before the second model was loaded".into()));
    }
    let before = Span::of(times, watched, begin);
    let meanwhile = Span::of(times, begin, end);
    println!("a second model is loaded in {:.0} ms beside a stream of talkied's", (end - begin).as_secs_f64() * 1000.0);
    println!("{:>12}{:>12}{:>18}", "", "tokens/s", "longest gap ms");
    println!("{:>12}{:>12.1}{:>18.0}", "before", before.rate, before.gap_ms);
    println!("{:>12}{:>12.1}{:>18.0}", "meanwhile", meanwhile.rate, meanwhile.gap_ms);
    println!("{:>12}{:>11.1}%", "change", (meanwhile.rate / before.rate - 1.0) * 100.0);
    Ok(())
}

/// Tokens within a time.
struct Span {
    rate: f64,
    /// Of the gaps that lie in it, be it in part.
    gap_ms: f64,
}

impl Span {
    fn of(times: &[Instant], begin: Instant, end: Instant) -> Self {
        let count = times.iter().filter(|time| (begin..end).contains(time)).count();
        let gaps = times.windows(2).filter(|pair| pair[1] >= begin && pair[0] < end);
        let longest = gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        Self { rate: count as f64 / (end - begin).as_secs_f64(), gap_ms: longest.as_secs_f64() * 1000.0 }
    }
}

#[cfg(test)]
#[path = "second_tests.rs"]
mod tests;
