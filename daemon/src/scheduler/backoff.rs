//! How long a model whose engine keeps dying is left alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::local::Key;

/// Longest wait between two starts.
const LONGEST: Duration = Duration::from_mins(1);

/// Deaths of engines since the last request each model finished.
#[derive(Debug, Default)]
pub struct Crashes(HashMap<Key, Crash>);

#[derive(Debug)]
struct Crash {
    count: u32,
    /// Not started again before this.
    until: Instant,
}

impl Crashes {
    /// Notes a death and says how long to wait: nothing after the first, then 1, 2, 4 … seconds up to a minute.
    pub fn note(&mut self, key: &Key, now: Instant) -> Duration {
        let crash = self.0.entry(key.clone()).or_insert(Crash { count: 0, until: now });
        let wait = match crash.count {
            0 => Duration::ZERO,
            count => Duration::from_secs(1 << (count - 1).min(6)).min(LONGEST),
        };
        crash.count += 1;
        crash.until = now + wait;
        wait
    }

    /// What is left to wait, if anything.
    pub fn wait(&self, key: &Key, now: Instant) -> Option<Duration> {
        let left = self.0.get(key)?.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Every model of which that is so, with the number of deaths and what is left to wait.
    pub fn all(&self, now: Instant) -> impl Iterator<Item = (&Key, u32, Duration)> {
        self.0.iter().map(move |(key, crash)| (key, crash.count, crash.until.saturating_duration_since(now)))
    }

    /// A request was finished: earlier deaths no longer count.
    pub fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
