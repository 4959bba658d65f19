//! The ways to the requests that are served. The loop makes and closes them and tells what it decides; their tokens come from
//! the threads that read engines and go past the loop, which asks now and then how far they are.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use engine::{Event, SequenceId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::AbortHandle;

use super::resident::Update;

/// All of them. The lock guards the map, and is never held while anybody else is waited for.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<BTreeMap<SequenceId, Listener>>);

/// The way to a request.
#[derive(Debug)]
struct Listener {
    updates: mpsc::Sender<Update>,
    /// Room in `updates` that is kept for what must not be lost: every token and the fixed updates.
    reserved: usize,
    /// Waits for the receiver to be dropped; holds a sender itself until then.
    watch: AbortHandle,
    /// Tokens that it was told since somebody asked, and when it got on last.
    heard: Option<(u32, Instant)>,
    /// Whether more came than it has room for: nothing of what comes then may pass what did not find room.
    is_overrun: bool,
}

/// How a request got on past the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) sequence: SequenceId,
    /// Tokens since the time before.
    pub(super) tokens: u32,
    /// When it got on last.
    pub(super) at: Instant,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Listener {
    fn take(&mut self, event: Event) -> Option<Event> {
        let mut tokens = self.heard.map_or(0, |(tokens, _)| tokens);
        if let Event::Token { sequence, sample, id, logprobs } = event {
            match self.updates.try_reserve() {
                Ok(room) if !self.is_overrun => room.send(Update::Token(sample, id, logprobs)),
                // Who is gone is about to be cancelled.
                Err(TrySendError::Closed(())) => {}
                Ok(_) | Err(TrySendError::Full(())) => {
                    self.is_overrun = true;
                    return Some(Event::Token { sequence, sample, id, logprobs });
                }
            }
            tokens += 1;
        }
        self.heard = Some((tokens, Instant::now()));
        None
    }
}

impl Listeners {
    /// Makes the way to a request.
    pub(super) fn add(&self, sequence: SequenceId, updates: mpsc::Sender<Update>, kept: usize, watch: AbortHandle) {
        let listener = Listener { updates, reserved: kept, watch, heard: None, is_overrun: false };
        self.all().insert(sequence, listener);
    }

    /// Closes it.
    pub(super) fn remove(&self, sequence: SequenceId) {
        self.all().remove(&sequence);
    }

    /// Takes a token that finds room, and the news that a prompt gets on; gives back what is for the loop.
    pub(super) fn take(&self, event: Event) -> Option<Event> {
        let (Event::Token { sequence, .. } | Event::Prefill { sequence, .. }) = &event else { return Some(event) };
        match self.all().get_mut(sequence) {
            Some(listener) => listener.take(event),
            None => Some(event),
        }
    }

    /// Tells a request what the loop has decided; false when more came than it has room for. Nothing follows the last update.
    pub(super) fn tell(&self, sequence: SequenceId, update: Update) -> bool {
        let last = matches!(update, Update::Finished(_) | Update::Cut(_) | Update::Failed(_));
        let is_progress = matches!(update, Update::Loading { .. } | Update::Queued(_));
        let mut all = self.all();
        let Some(listener) = all.get(&sequence) else { return true };
        let room = listener.updates.capacity();
        if is_progress && room <= listener.reserved {
            return true;
        }
        let is_overrun = listener.is_overrun || listener.updates.try_send(update).is_err() && room == 0;
        if last {
            all.remove(&sequence);
        }
        !is_overrun
    }

    /// Who got on since this was asked last.
    pub(super) fn heard(&self) -> Vec<Heard> {
        let heard = |(sequence, listener): (&SequenceId, &mut Listener)| {
            let (tokens, at) = listener.heard.take()?;
            Some(Heard { sequence: *sequence, tokens, at })
        };
        self.all().iter_mut().filter_map(heard).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<SequenceId, Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "listeners_tests.rs"]
mod tests;
