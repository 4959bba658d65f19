//! Who gets memory: one budget for all engines of the machine, as plain functions of who holds how much.
//!
//! A model takes its weights, the scratch that computing with them needs, what its running sequences may grow to, and the
//! prefixes that it keeps. Kept prefixes are given back first, then models that nobody uses, the one used least recently
//! first. A model in use, and one that is to stay forever, is never unloaded for another.

use std::time::Instant;

use crate::local::Key;

/// One that holds memory.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Which model.
    pub key: Key,
    /// Bytes that it holds as long as it is there: weights and scratch.
    pub model_bytes: u64,
    /// Bytes that its running sequences may grow to.
    pub sequence_bytes: u64,
    /// Bytes of kept prefixes.
    pub prefix_bytes: u64,
    /// Since when nobody needs it; `None` while somebody does.
    pub idle_since: Option<Instant>,
    /// Whether it is to stay, whatever others need.
    pub is_pinned: bool,
}

impl Holder {
    /// All together.
    pub fn bytes(&self) -> u64 {
        self.model_bytes + self.sequence_bytes + self.prefix_bytes
    }
}

/// What is to be done for a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// Nothing: it fits.
    There,
    /// Have these give back what they keep for later.
    Trim(Vec<Key>),
    /// Unload these.
    Evict(Vec<Key>),
    /// Wait until somebody ends.
    Later,
    /// Nothing helps: beside what is pinned, which is so much, there never is room.
    Never(u64),
}

/// How `needed` more bytes are found within `budget` for one of the holders or a new one; `asker` is not unloaded for its own
/// wish. A budget of 0 is none.
pub fn find(budget: u64, needed: u64, asker: &Key, holders: &[Holder]) -> Room {
    if budget == 0 {
        return Room::There;
    }
    let held: u64 = holders.iter().map(Holder::bytes).sum();
    let free = budget.saturating_sub(held);
    if needed <= free {
        return Room::There;
    }
    let stays = |holder: &&Holder| holder.is_pinned || holder.key == *asker;
    let pinned: u64 = holders.iter().filter(stays).map(|holder| holder.model_bytes).sum();
    if needed > budget.saturating_sub(pinned) {
        return Room::Never(pinned);
    }
    let missing = needed - free;
    let mut idle: Vec<&Holder> =
        holders.iter().filter(|holder| !stays(holder) && holder.idle_since.is_some()).collect();
    let keeping: Vec<&Holder> = holders.iter().filter(|holder| holder.prefix_bytes > 0).collect();
    let kept: u64 = keeping.iter().map(|holder| holder.prefix_bytes).sum();
    let unused: u64 = idle.iter().map(|holder| holder.bytes()).sum();
    if kept >= missing || (kept > 0 && unused < missing) {
        return Room::Trim(keeping.into_iter().map(|holder| holder.key.clone()).collect());
    }
    idle.sort_by_key(|holder| holder.idle_since);
    let mut freed = 0;
    let enough = idle.iter().position(|holder| {
        freed += holder.bytes();
        freed >= missing
    });
    match enough {
        Some(last) => Room::Evict(idle[..=last].iter().map(|holder| holder.key.clone()).collect()),
        None => Room::Later,
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
