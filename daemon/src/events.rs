//! What happened to models, kept for a while, so that a client that comes back can ask for what it missed.
//!
//! Everybody who changes something says so here: the library, the scheduler and the pulls. Nobody is waited for: a
//! follower reads the log at its own speed, and one that falls behind what is kept is given the whole state anew. Of
//! progress only the latest is kept, so that a download of hours pushes nothing else out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::{ModelChange, ModelEvent, PullState};
use tokio::sync::watch;

use crate::memory::Level;
use crate::metrics::Counters;

/// Events that are kept.
const KEPT: usize = 1024;

/// A handle on the log.
#[derive(Debug, Clone)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held for one look or one entry alone.
    log: Mutex<Log>,
    latest: watch::Sender<u64>,
    /// How short of memory the machine is.
    pressure: watch::Sender<Level>,
    counters: Counters,
}

#[derive(Debug)]
struct Log {
    /// Everything up to this number may have been dropped.
    dropped: u64,
    /// By number.
    events: VecDeque<ModelEvent>,
    last: u64,
}

/// One who reads the log from a number on.
#[derive(Debug)]
pub struct Follower {
    events: Events,
    latest: watch::Receiver<u64>,
    /// The last that was read.
    seen: u64,
}

/// What a follower finds.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// What came after what it has read.
    Events(Vec<ModelEvent>),
    /// It has missed some; the state as it is from now on counts as read up to this number.
    Missed(u64),
}

impl Default for Events {
    /// Numbers begin with the time, in microseconds, and so grow over restarts too.
    fn default() -> Self {
        Self::counted(Counters::default())
    }
}

impl Events {
    /// An empty log, of which everything is counted there.
    pub fn counted(counters: Counters) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::new(now.as_micros() as u64, counters)
    }

    /// An empty log whose first number is the one after this.
    pub fn beginning_at(last: u64) -> Self {
        Self::new(last, Counters::default())
    }

    fn new(last: u64, counters: Counters) -> Self {
        let log = Log { dropped: last, events: VecDeque::new(), last };
        Self(Arc::new(Shared {
            log: Mutex::new(log),
            latest: watch::Sender::new(last),
            pressure: watch::Sender::default(),
            counters,
        }))
    }

    /// Writes down what happened.
    pub fn tell(&self, change: ModelChange) {
        self.0.counters.change(&change);
        let last = self.log(|log| log.push(change));
        self.0.latest.send_replace(last);
    }

    /// Says how short of memory the machine is.
    pub fn press(&self, level: Level) {
        self.0.pressure.send_replace(level);
    }

    /// How short of memory the machine is, as it is told.
    pub fn pressure(&self) -> watch::Receiver<Level> {
        self.0.pressure.subscribe()
    }

    /// Follows from `after` on, or from now.
    pub fn follow(&self, after: Option<u64>) -> Follower {
        Follower { events: self.clone(), latest: self.0.latest.subscribe(), seen: after.unwrap_or(0) }
    }

    fn log<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut self.0.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log {
    fn push(&mut self, change: ModelChange) -> u64 {
        if let Some(subject) = progress_of(&change) {
            self.events.retain(|event| progress_of(&event.change).as_ref() != Some(&subject));
        }
        while self.events.len() >= KEPT {
            self.dropped = self.events.pop_front().map_or(self.dropped, |event| event.seq);
        }
        self.last += 1;
        self.events.push_back(ModelEvent { seq: self.last, change });
        self.last
    }

    fn after(&self, seen: u64) -> News {
        // A number not given out yet is of another machine's clock, or made up.
        if seen < self.dropped || seen > self.last {
            return News::Missed(self.last);
        }
        let begin = self.events.partition_point(|event| event.seq <= seen);
        News::Events(self.events.range(begin..).cloned().collect())
    }
}

impl Follower {
    /// Waits for news. Dropping the future loses nothing.
    pub async fn next(&mut self) -> News {
        loop {
            self.latest.mark_unchanged();
            let news = self.events.log(|log| log.after(self.seen));
            match &news {
                News::Missed(last) => self.seen = *last,
                News::Events(events) if events.is_empty() => {
                    // The sender lives in `events`, which this holds.
                    let _ = self.latest.changed().await;
                    continue;
                }
                News::Events(events) => self.seen = events.last().map_or(self.seen, |event| event.seq),
            }
            return news;
        }
    }
}

/// Whose progress it is, where it is of a kind that the next one makes worthless.
fn progress_of(change: &ModelChange) -> Option<(&'static str, &str)> {
    match change {
        ModelChange::Loading { model, .. } => Some(("load", &model.0)),
        ModelChange::Pull { pull } if pull.state == PullState::Downloading => Some(("pull", &pull.model.0)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
