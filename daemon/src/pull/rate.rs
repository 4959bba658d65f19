//! How fast a download is, how fast it may be, and how long to wait after a failure.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Over which time a rate is taken.
const WINDOW: Duration = Duration::from_secs(5);

/// First wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait after a failure, unless a server asks for more.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Bytes per second of the last seconds.
#[derive(Debug, Default)]
pub struct Meter(VecDeque<(Instant, u64)>);

impl Meter {
    /// Notes how many bytes have come in all, and says how many came per second; `None` before that can be told.
    pub fn note(&mut self, bytes: u64, now: Instant) -> Option<u64> {
        while self.0.len() > 1 && self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back((now, bytes));
        let (first, before) = *self.0.front()?;
        let time = now.duration_since(first);
        (time >= Duration::from_millis(200)).then(|| (bytes.saturating_sub(before) as f64 / time.as_secs_f64()) as u64)
    }
}

/// A limit that all downloads share, in bytes per second.
#[derive(Debug)]
pub struct Limit {
    /// 0 for no limit.
    bytes_per_second: AtomicU64,
    /// Until when what was taken is paid for. Held for one sum alone.
    paid_until: Mutex<Instant>,
    /// Wakes those who wait by the limit before.
    changed: Notify,
}

impl Limit {
    /// A limit, or none.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let bytes_per_second = AtomicU64::new(bytes_per_second.unwrap_or_default());
        Self { bytes_per_second, paid_until: Mutex::new(Instant::now()), changed: Notify::new() }
    }

    /// Another limit, or none, from the next piece on.
    pub fn set(&self, bytes_per_second: Option<u64>) {
        self.bytes_per_second.store(bytes_per_second.unwrap_or_default(), Ordering::Relaxed);
        // A slow limit may have been paid for a long time ahead.
        *self.paid_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.changed.notify_waiters();
    }

    /// Completes when the limit is another one than at this call.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Takes some bytes and says how long to wait before the next.
    pub fn take(&self, bytes: usize, now: Instant) -> Duration {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 {
            return Duration::ZERO;
        }
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_until = (*paid_until).max(now) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        paid_until.duration_since(now)
    }
}

/// How long to wait after so many failures in a row: twice as long each time, shortened by up to a half at random, so
/// that those who failed together do not come back together. A server's own wish is kept.
pub fn wait(failures: u32, asked: Option<Duration>, random: f64) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    wait.mul_f64(0.5 + random / 2.0).max(asked.unwrap_or_default())
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
