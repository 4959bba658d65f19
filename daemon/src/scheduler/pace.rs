//! How fast requests end, and so when one that finds no place may try again. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ends that are looked at, and how old they may be.
const MOST: usize = 32;
const OLDEST: Duration = Duration::from_mins(1);

/// What is said where too little is known.
const UNKNOWN: Duration = Duration::from_secs(1);

/// What is said at least and at most.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_mins(1);

/// When the last requests ended.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<Instant>);

impl Pace {
    /// One ended.
    pub fn note(&mut self, now: Instant) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// After how long the next one ends, as they ended lately.
    pub fn next(&self, now: Instant) -> Duration {
        let mut recent = self.0.iter().filter(|end| now.saturating_duration_since(**end) <= OLDEST);
        let (Some(first), others) = (recent.next(), recent.count()) else { return UNKNOWN };
        if others == 0 {
            return UNKNOWN;
        }
        (now.saturating_duration_since(*first) / others as u32).clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
