//! `cargo xtask bench --crowd`: many clients at once, of an engine whose steps take ten milliseconds whatever they compute,
//! and of the real one beside mlx-lm's server.
//!
//! With the first it is known what is ideal: each stream gets a token a step. What is missing from that, and the processor's
//! time that the daemon takes, are the daemon's own.

mod client;
mod fake;
mod processor;
mod real;
mod server;
mod urgent;

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use clap::ValueEnum;

use super::Extent;
use super::figures::Samples;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Whose clients are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engines {
    /// Of an engine whose steps are known.
    Fake,
    /// Of the real one.
    Real,
    /// Of one after the other.
    Both,
}

/// Measures and prints.
pub fn run(extent: Extent, engines: Engines) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    if engines != Engines::Real {
        let programs = fake::Programs::build()?;
        fake::run(&programs, extent, &interrupt)?;
        urgent::run(&programs, extent, &interrupt)?;
    }
    if engines == Engines::Fake {
        return Ok(());
    }
    real::run(extent, &interrupt)
}

/// One answer, as its client saw it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    asked: Instant,
    first: Instant,
    last: Instant,
    tokens: u32,
}

impl Seen {
    /// Seconds from the question to the first token.
    fn wait_s(self) -> f64 {
        (self.first - self.asked).as_secs_f64()
    }

    /// Tokens per second from the first on.
    fn rate(self) -> f64 {
        f64::from(self.tokens.saturating_sub(1)) / (self.last - self.first).as_secs_f64().max(1e-9)
    }
}

/// All answers of several clients that began together.
#[derive(Debug)]
struct Crowd(Vec<Seen>);

impl Crowd {
    /// Has each client ask `questions` times, one answer after the other; all of them begin together. `open` makes a client of
    /// a number, which is then asked with the number of the question.
    fn run<C: Client>(clients: u32, questions: u32, open: impl Fn(u32) -> Result<C> + Sync) -> Result<Self> {
        let barrier = Barrier::new(clients as usize);
        let ask = |number: u32| {
            let client = open(number);
            barrier.wait();
            let mut client = client?;
            (0..questions).map(|question| client.ask(number * questions + question)).collect::<Result<Vec<_>>>()
        };
        let seen = thread::scope(|scope| {
            let running: Vec<_> = (0..clients)
                .map(|number| {
                    scope.spawn({
                        let ask = &ask;
                        move || ask(number)
                    })
                })
                .collect();
            let ended = running
                .into_iter()
                .map(|client| client.join().map_err(|_| Error::Unexpected("a client of the bench panicked".into()))?);
            ended.collect::<Result<Vec<_>>>()
        })?;
        Ok(Self(seen.concat()))
    }

    /// Tokens per second of all together, from the first question to the last token.
    fn rate(&self) -> f64 {
        let (Some(start), Some(end)) =
            (self.0.iter().map(|seen| seen.asked).min(), self.0.iter().map(|seen| seen.last).max())
        else {
            return 0.0;
        };
        self.tokens() / (end - start).as_secs_f64()
    }

    /// The rates of all streams from their first tokens on, added up.
    fn stream_rate(&self) -> f64 {
        self.0.iter().map(|seen| seen.rate()).sum()
    }

    fn tokens(&self) -> f64 {
        self.0.iter().map(|seen| f64::from(seen.tokens)).sum()
    }

    fn waits(&self) -> Samples {
        self.0.iter().map(|seen| seen.wait_s() * 1000.0).collect()
    }
}

/// Somebody who asks and reads the answer token by token.
trait Client: Send {
    /// Asks the question of that number and waits for the end of the answer.
    fn ask(&mut self, question: u32) -> Result<Seen>;
}
