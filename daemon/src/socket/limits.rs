//! Every bound of the socket, and the one budget that all connections share.
//!
//! Passed in by `run`, so that tests choose small ones. Nothing here waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What clients may ask of the daemon, and for how long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once; the next is answered with an error and closed.
    pub connections: usize,
    /// Longest message in either direction, in bytes, without the newline.
    pub message_bytes: usize,
    /// Bytes of requests longer than 64 KiB, unfinished or running, of all newline-delimited connections together.
    pub held_bytes: usize,
    /// Requests in one batch.
    pub batch: usize,
    /// Calls of one connection that run at once; then its socket is not read.
    pub in_flight: usize,
    /// Subscriptions of one connection.
    pub subscriptions: u32,
    /// Messages that wait for one connection's writer; then their senders wait.
    pub outbox: usize,
    /// How long a message may take from its first byte to its last.
    pub line_timeout: Duration,
    /// How long a write may make no progress.
    pub write_timeout: Duration,
    /// How long running calls may take to end after shutdown began, as it is set then.
    pub drain: watch::Receiver<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            message_bytes: protocol::MAX_MESSAGE_BYTES,
            held_bytes: 256 << 20,
            batch: 64,
            in_flight: 256,
            subscriptions: 64,
            outbox: 256,
            line_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain: watch::channel(Duration::from_secs(10)).1,
        }
    }
}

/// Requests up to this length are not counted: whatever others send, a ping and a usual prompt always have room.
const UNCOUNTED_BYTES: usize = 64 << 10;

/// [`Limits::held_bytes`], counted in KiB: a semaphore counts in `u32`.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

/// A part of the budget, where one was needed; dropping it gives it back.
pub(super) type Held = Option<OwnedSemaphorePermit>;

/// Others have the room.
#[derive(Debug)]
pub(super) struct Exhausted;

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Semaphore::new((limits.held_bytes / 1024).min(Semaphore::MAX_PERMITS))))
    }

    /// Takes room for a request of that length.
    pub(super) fn hold(&self, bytes: usize) -> Result<Held, Exhausted> {
        let mut held = None;
        if self.grow(&mut held, bytes) { Ok(held) } else { Err(Exhausted) }
    }

    /// Grows `held` to that length; false when others have the room.
    pub(super) fn grow(&self, held: &mut Held, bytes: usize) -> bool {
        let wanted = if bytes > UNCOUNTED_BYTES { bytes.div_ceil(1024) } else { 0 };
        let more = wanted.saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if more == 0 {
            return true;
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.0).try_acquire_many_owned(more) else { return false };
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        true
    }
}
