//! A request as it runs: what it takes of its engine, and how long it has waited.

use std::time::{Duration, Instant};

use engine::{KvBits, SequenceId};
use protocol::Priority;

use super::queue::aged;
use super::resident::Job;
use crate::app::App;

/// A request that an engine has begun.
#[derive(Debug)]
pub struct Running {
    /// Which.
    pub sequence: SequenceId,
    /// Rows of the batch that it takes while it is not paused.
    pub rows: u32,
    /// Who asks.
    pub app: App,
    /// How urgent it was when it came.
    pub priority: Priority,
    /// Tokens so far.
    pub tokens: u32,
    /// The caller's name for it.
    pub trace_id: Option<String>,
    /// When it came.
    pub arrived: Instant,
    /// Since when it is paused.
    pub paused: Option<Instant>,
    /// When it began or went on last.
    pub(super) since: Instant,
    /// How long it has waited before it began and in pauses that are over.
    pub(super) waited: Duration,
    /// When it is to be ended; `None` too once that has been asked for.
    pub(super) deadline: Option<Instant>,
    /// Whether it was asked to end for its deadline.
    pub(super) overdue: bool,
    /// Tokens of its prompt, once for each sample, and those that it may grow to.
    pub(super) grows: (u64, u64),
    /// In how few bits its keys and values are kept, if so.
    pub(super) kv_bits: Option<KvBits>,
}

impl Running {
    /// Of a request that begins.
    pub(super) fn new(job: &Job, now: Instant) -> Self {
        Self {
            sequence: job.work.sequence(),
            rows: job.rows(),
            app: job.claim.app.clone(),
            priority: job.claim.priority,
            tokens: 0,
            trace_id: job.trace_id.clone(),
            arrived: job.arrived,
            paused: None,
            since: now,
            waited: now.saturating_duration_since(job.arrived),
            deadline: job.deadline(),
            overdue: false,
            grows: job.tokens(),
            kv_bits: job.kv_bits(),
        }
    }

    /// Tokens for which memory is set aside: all that it may grow to, or what it has while it is paused.
    pub(super) fn reserved(&self) -> u64 {
        let (prompt, most) = self.grows;
        if self.paused.is_some() { prompt + u64::from(self.tokens) } else { most }
    }

    /// How long it has waited in all.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.waited + self.paused.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// How urgent it is by now.
    pub(super) fn level(&self, now: Instant) -> Priority {
        aged(self.priority, self.waited(now))
    }
}
