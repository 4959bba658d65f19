//! `cargo xtask bench --crowd`: many clients at once, of an engine whose steps take ten milliseconds whatever they compute,
//! and of the real one beside mlx-lm's server.
//!
//! With the first it is known what is ideal: each stream gets a token a step. What is missing from that, and the processor's
//! time that the daemon takes, are the daemon's own.

mod client;
mod fake;
mod floor;
mod processor;
mod real;
mod second;
mod server;
mod shared;
mod stage;
mod urgent;

use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use clap::ValueEnum;

use super::figures::Samples;
use super::{Extent, shape};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// The program of the engine with known steps.
pub const FAKE_ENGINE: &str = "fake-engine";

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

/// What is measured.
#[derive(Debug)]
pub struct Plan {
    /// How long it may take.
    pub extent: Extent,
    /// Whose clients.
    pub engines: Engines,
    /// Clients at once, in place of the usual numbers.
    pub clients: Option<Vec<u32>>,
    /// Of random weights in this shape, in place of a small model.
    pub shape: Option<String>,
    /// A folder that was packed, in place of the checkout.
    pub packed: Option<PathBuf>,
}

impl Plan {
    /// Clients at once.
    fn levels(&self, usual: &[u32]) -> Vec<u32> {
        self.clients.clone().unwrap_or_else(|| usual.to_vec())
    }
}

/// Measures and prints.
pub fn run(plan: &Plan) -> Result<()> {
    if plan.shape.is_some() && plan.engines != Engines::Real {
        return Err(Error::Unexpected("--shape goes with --crowd real: the other engine has no weights".into()));
    }
    // Nothing is built for a name that is wrong.
    plan.shape.as_deref().map(shape::config).transpose()?;
    let interrupt = Interrupt::watch()?;
    if plan.engines != Engines::Real {
        let programs = fake::Programs::of(plan.packed.as_deref())?;
        fake::run(&programs, plan, &interrupt)?;
        urgent::run(&programs, plan.extent, &interrupt)?;
        second::of_steps(&programs, &interrupt)?;
    }
    if plan.engines == Engines::Fake {
        return Ok(());
    }
    real::run(plan, &interrupt)
}

/// One answer, as its client saw it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    asked: Instant,
    first: Instant,
    last: Instant,
    tokens: u32,
    /// How often it had to knock again before it was let in.
    knocks: u32,
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

/// What a crowd asks.
#[derive(Debug, Clone, Copy)]
struct Questions {
    /// The number of the first.
    first: u32,
    /// Of each client.
    each: u32,
}

/// All answers of several clients that began together.
#[derive(Debug)]
struct Crowd(Vec<Seen>);

impl Crowd {
    /// Has each client ask so many times, one answer after the other; all of them begin together. `open` makes a client of
    /// a number, which is then asked with the number of the question, from `first` on.
    fn run<C: Client>(clients: u32, questions: Questions, open: impl Fn(u32) -> Result<C> + Sync) -> Result<Self> {
        let Questions { first, each } = questions;
        let barrier = Barrier::new(clients as usize);
        let ask = |number: u32| {
            let client = open(number);
            barrier.wait();
            let mut client = client?;
            (0..each).map(|question| client.ask(first + number * each + question)).collect::<Result<Vec<_>>>()
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

    fn knocks(&self) -> u32 {
        self.0.iter().map(|seen| seen.knocks).sum()
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
