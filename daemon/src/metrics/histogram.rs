//! Times by size, in buckets whose bounds never change.

use std::time::Duration;

use protocol::{Bucket, Histogram as Told};

/// Bounds of what requests wait for, in microseconds: from what nobody notices to what nobody waits for.
pub(super) const WAIT_US: &[u64] = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Bounds of the time from one token to the next, in microseconds: from 2000 tokens a second to one.
pub(super) const TOKEN_US: &[u64] = &[
    500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 75_000, 100_000, 150_000, 250_000,
    500_000, 1_000_000,
];

/// Times, counted.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    /// In microseconds, rising.
    bounds: &'static [u64],
    /// Of each bucket alone; the last is of what lies beyond all bounds.
    counts: Vec<u64>,
    sum_us: u64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum_us: 0 }
    }

    /// Counts a time, where there is one.
    pub(super) fn observe(&mut self, time: Option<Duration>) {
        let Some(time) = time else { return };
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.counts[self.bounds.partition_point(|bound| *bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// As the wire tells it, in milliseconds.
    pub(super) fn told(&self) -> Told {
        let mut count = 0;
        let mut up_to = |(bound, own): (&u64, &u64)| {
            count += own;
            Bucket { le: ms(*bound), count }
        };
        let buckets = self.bounds.iter().zip(&self.counts).map(&mut up_to).collect();
        Told::new(self.counts.iter().sum(), ms(self.sum_us), buckets)
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}
