//! Tokens and what the layers keep of them. Those of sequences that ended stay for a while: a prompt that begins like one of
//! them goes on from there, and only what comes behind is computed.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use candle_core::{Result, Tensor};
use engine::TokenId;

use crate::cache::Cache;
use crate::model::Model;

/// Fewer tokens are computed again rather than kept or looked for.
const LEAST: usize = 32;

/// Most timelines that are kept.
const MOST: usize = 4;

/// Computed tokens, and for each layer its keys and values of them.
#[derive(Default)]
pub struct Timeline {
    tokens: Vec<TokenId>,
    caches: Vec<Cache>,
}

/// The timeline of a sequence, which is kept when that ends.
pub struct Running {
    timeline: Timeline,
    /// Gone with the model, and nowhere for a fork: its origin has the same prompt.
    kept: Weak<Kept>,
}

/// Timelines of sequences that ended.
pub struct Kept {
    /// The one used last comes last.
    timelines: RefCell<Vec<Timeline>>,
    /// Most bytes of all together.
    most_bytes: u64,
}

/// What of the kept timelines serves a prompt.
#[derive(Debug, PartialEq, Eq)]
struct Reuse {
    place: usize,
    /// Tokens that both begin with.
    len: usize,
    /// Whether the timeline is kept beside the new one, since much of it would be lost.
    is_copied: bool,
}

impl Timeline {
    /// Without tokens.
    pub fn new(caches: Vec<Cache>) -> Self {
        Self { tokens: Vec::new(), caches }
    }

    fn fork(&self, len: usize) -> Result<Self> {
        let caches = self.caches.iter().map(|cache| cache.fork(len)).collect::<Result<_>>()?;
        Ok(Self { tokens: self.tokens[..len].to_vec(), caches })
    }

    fn cut(mut self, len: usize) -> Self {
        self.tokens.truncate(len);
        self.caches.iter_mut().for_each(|cache| cache.cut(len));
        self
    }

    fn bytes(&self) -> u64 {
        self.caches.iter().map(Cache::bytes).sum()
    }

    /// A step that failed leaves some layers behind others.
    fn is_whole(&self) -> bool {
        self.caches.iter().all(|cache| cache.len() == self.tokens.len())
    }
}

impl Running {
    /// One that is not kept.
    pub fn alone(timeline: Timeline) -> Self {
        Self { timeline, kept: Weak::new() }
    }

    /// Tokens so far.
    pub fn len(&self) -> usize {
        self.timeline.tokens.len()
    }

    /// Adds `tokens`; answers the vectors after the last block, `[tokens, hidden]`.
    pub fn extend(&mut self, tokens: &[TokenId], model: &Model) -> Result<Tensor> {
        let hidden = model.hidden(tokens, &mut self.timeline.caches)?;
        self.timeline.tokens.extend_from_slice(tokens);
        Ok(hidden)
    }

    /// A copy that shares nothing.
    pub fn fork(&self) -> Result<Self> {
        Ok(Self::alone(self.timeline.fork(self.len())?))
    }

    /// Keeps nothing of a sequence that failed.
    pub fn forget(&mut self) {
        self.kept = Weak::new();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.upgrade() {
            kept.put(std::mem::take(&mut self.timeline));
        }
    }
}

impl Kept {
    /// None yet.
    pub fn new(most_bytes: u64) -> Rc<Self> {
        Rc::new(Self { timelines: RefCell::default(), most_bytes })
    }

    /// The timeline with the longest beginning of `prompt`, less its last token; one of `empty` caches where that is too
    /// short. It comes back here when it is dropped.
    pub fn begin(self: &Rc<Self>, prompt: &[TokenId], empty: impl FnOnce() -> Vec<Cache>) -> Result<Running> {
        let timeline = self.take(prompt)?.unwrap_or_else(|| Timeline::new(empty()));
        Ok(Running { timeline, kept: Rc::downgrade(self) })
    }

    fn take(&self, prompt: &[TokenId]) -> Result<Option<Timeline>> {
        let mut timelines = self.timelines.borrow_mut();
        let tokens: Vec<&[TokenId]> = timelines.iter().map(|timeline| timeline.tokens.as_slice()).collect();
        let Some(Reuse { place, len, is_copied }) = choose(&tokens, prompt) else { return Ok(None) };
        let timeline = timelines.remove(place);
        if !is_copied {
            return Ok(Some(timeline.cut(len)));
        }
        let copy = timeline.fork(len)?;
        timelines.push(timeline);
        Ok(Some(copy))
    }

    /// Bytes of all that is kept.
    pub fn bytes(&self) -> u64 {
        self.timelines.borrow().iter().map(Timeline::bytes).sum()
    }

    /// Keeps nothing any more.
    pub fn clear(&self) {
        self.timelines.borrow_mut().clear();
    }

    fn put(&self, timeline: Timeline) {
        if timeline.tokens.len() < LEAST || !timeline.is_whole() {
            return;
        }
        let mut timelines = self.timelines.borrow_mut();
        // Of which nearly everything is in this one too.
        timelines.retain(|old| old.tokens.len() - common(&old.tokens, &timeline.tokens) >= LEAST);
        timelines.push(timeline);
        while timelines.len() > MOST || timelines.iter().map(Timeline::bytes).sum::<u64>() > self.most_bytes {
            timelines.remove(0);
        }
    }
}

/// The longest that serves; of equals the one used last.
fn choose(kept: &[&[TokenId]], prompt: &[TokenId]) -> Option<Reuse> {
    // The last token is computed in any case: what comes after it is asked for.
    let (_, before) = prompt.split_last()?;
    let lens = kept.iter().map(|tokens| common(tokens, before)).enumerate();
    let (place, len) = lens.filter(|(_, len)| *len >= LEAST).max_by_key(|(_, len)| *len)?;
    Some(Reuse { place, len, is_copied: kept[place].len() - len >= LEAST })
}

/// Tokens that both begin with.
fn common(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
