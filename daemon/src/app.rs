//! Who asks: the app whose share of an engine a request takes.
//!
//! An app is the process at the other end of the connection. Where the system does not tell that, each connection counts as
//! an app of its own: nobody gets a larger share by being unknown, but by more connections. What a request calls its app
//! is a name alone, for people and for `usage.get`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What tells apps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A process of this machine.
    Process(i32),
    /// A connection of a process that is not known.
    Connection(u64),
}

impl Source {
    /// Of a new connection, from a process where that is known.
    pub fn of(pid: Option<i32>) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        // A process that this one cannot see, as one outside of its container, has the number 0.
        match pid.filter(|pid| *pid > 0) {
            Some(pid) => Self::Process(pid),
            None => Self::Connection(CONNECTIONS.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// One who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name, for people.
    pub name: String,
    /// What it shares by.
    pub source: Source,
}

impl App {
    /// Of a request that came through no connection.
    pub fn unknown() -> Self {
        Self { name: "unknown".into(), source: Source::of(None) }
    }
}
