//! How urgent a request is and how long it may take, as options; called by [`super::generate`].

use std::time::Duration;

use clap::Args;
use protocol::turn::LONGEST_MS;
use protocol::{KeepAlive, Priority};

/// Whose turn it is, and for how long somebody waits.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Turn")]
pub struct Turn {
    /// How urgent it is: background, normal or interactive [default: interactive where the answer goes to a terminal, else
    /// normal]
    #[arg(long, value_name = "LEVEL", value_parser = priority)]
    pub priority: Option<Priority>,
    /// Fail when it has waited this long to begin: 500ms, 30s, 5m, 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub queue_timeout: Option<Duration>,
    /// End it after this long: cut it if it has begun, else fail: 500ms, 30s, 5m, 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub deadline: Option<Duration>,
}

impl Turn {
    /// What is said here, and elsewhere what `base` says.
    pub fn over(self, base: Self) -> Self {
        Self {
            priority: self.priority.or(base.priority),
            queue_timeout: self.queue_timeout.or(base.queue_timeout),
            deadline: self.deadline.or(base.deadline),
        }
    }
}

/// A priority by its name on the wire.
fn priority(name: &str) -> Result<Priority, String> {
    let found = Priority::ALL.into_iter().find(|priority| priority.name() == name);
    found.ok_or_else(|| "there are background, normal and interactive".into())
}

/// A time that a request may wait or take.
fn time(text: &str) -> Result<Duration, String> {
    let time = match text.strip_suffix("ms") {
        Some(digits) => digits.parse().ok().map(Duration::from_millis),
        None => match text.parse() {
            Ok(KeepAlive::For(time)) => Some(time),
            _ => None,
        },
    };
    let longest = Duration::from_millis(LONGEST_MS);
    time.filter(|time| !time.is_zero() && *time <= longest)
        .ok_or_else(|| "a time is seconds (30) or such as 500ms, 30s, 5m or 2h, above 0 and up to a day".into())
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
