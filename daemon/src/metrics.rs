//! What is counted: requests by how they ended and how long they took, models that come and go, downloads.
//!
//! A handle goes to those who count: `requests`, once for each request, and `events`, once for each change of a model.
//! Nothing is counted for a token, and nobody waits but for a few additions. What stands in labels is bounded, whatever
//! clients ask for. `daemon.metrics` reads it, with what is so at that moment; [`text`] writes that for Prometheus.

mod counts;
mod histogram;
mod text;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::{FinishReason, Kind, Metrics, ModelChange, ModelId, Priority, ProviderId};

use counts::Counts;
pub use text::{CONTENT_TYPE, text};

/// A handle on the counts. Clones count into the same ones.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<Mutex<Counts>>);

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer, a cancelled one included.
    Finished(FinishReason),
    /// With an error.
    Failed(Kind),
    /// Whoever asked is gone, or was too slow.
    Abandoned,
}

/// A request that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Its model; one that exists, for names take room in the counts. `None` where that is not known.
    pub model: Option<ModelId>,
    /// What ran it.
    pub engine: Option<ProviderId>,
    /// How urgent it was; `None` where that is not told apart.
    pub priority: Option<Priority>,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Of these, the ones that were not computed again.
    pub cached_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// How long it took.
    pub times: Times,
}

/// Times of a request, each where there was such a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Waited for other requests.
    pub queue: Option<Duration>,
    /// Waited for the model to load.
    pub load: Option<Duration>,
    /// To the first token.
    pub first_token: Option<Duration>,
    /// From one token to the next.
    pub token: Option<Duration>,
    /// In all.
    pub total: Option<Duration>,
}

impl Ended {
    /// One of which nothing is known but who had it, and how it ended.
    pub fn new(model: Option<ModelId>, engine: Option<ProviderId>, outcome: Outcome) -> Self {
        Self {
            model,
            engine,
            priority: None,
            outcome,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            times: Times::default(),
        }
    }
}

impl Times {
    /// The mean from one token to the next, of so many samples with so many tokens together, decoded side by side.
    pub fn token(decode: Duration, tokens: u32, samples: u32) -> Option<Duration> {
        let steps = tokens.checked_sub(samples).filter(|steps| *steps > 0)?;
        Some(decode * samples.max(1) / steps)
    }
}

impl Counters {
    /// Counts a request.
    pub fn request(&self, ended: Ended) {
        self.counts(|counts| counts.request(ended));
    }

    /// Counts what happened to a model.
    pub fn change(&self, change: &ModelChange) {
        self.counts(|counts| counts.change(change));
    }

    /// Everything counted so far, with nothing of what is so now.
    pub fn read(&self) -> Metrics {
        self.counts(|counts| counts.read())
    }

    /// Held for a few additions, or one reading.
    fn counts<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
