//! A daemon that is started anew, as for an update: what that does to a request, and how long it is tried again.
//!
//! Of a request, only what has shown nothing of its answer may be sent again. Whoever sends decides that; here is only
//! whether it is worth while. Called by `talkiectl generate` and by apps.

use std::time::Duration;

use protocol::Kind;
use tokio::time::Instant;

use crate::error::Error;

/// Longer than a daemon drains by default, and than its successor takes to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that is lost as often may be what ends the daemon.
const MOST_LOST: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The attempts at one request.
#[derive(Debug, Default)]
pub struct Retry {
    /// Set by the first failure.
    deadline: Option<Instant>,
    lost: u32,
    /// A daemon has said that it ends: until it has, another cannot be started.
    is_draining: bool,
    pause: Duration,
}

impl Retry {
    /// Whether the same request may have an answer now, on a new connection. Waits a moment where it may.
    pub async fn again(&mut self, error: &Error) -> bool {
        let passes = match error {
            Error::Rpc { kind: Some(Kind::ShuttingDown), .. } => {
                self.is_draining = true;
                true
            }
            Error::Lost => {
                self.lost += 1;
                self.lost < MOST_LOST
            }
            Error::NotStarted { .. } => self.is_draining,
            _ => false,
        };
        let now = Instant::now();
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        if !passes || now + self.pause > *self.deadline.get_or_insert(now + PATIENCE) {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        true
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
