//! What the loaded model has computed of beginnings of prompts and of answers, for all sequences to come.
//!
//! A sequence hands in each chunk as soon as it is computed, and so does one that is cancelled or fails later. It
//! takes what its prompt begins with at its own beginning, as a copy: attention needs keys and values in one piece,
//! and a step writes behind them in place.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use engine::message::{KvBits, Submission, TokenId};
use engine::prefix::{CHUNK, Prefixes};
use mlx_rs::{Array, transforms};

use crate::cache::{Cache, Chunk};
use crate::device::BLOCK;
use crate::error::Result;

/// Where copies are made together and then apart, what that may take beside what stays: no more than MLX may keep for reuse on
/// any device.
const AT_ONCE_BYTES: usize = 256 << 20;

/// The kept chunks of a loaded model.
pub struct Kept {
    /// Apart by the form of what is kept.
    chunks: RefCell<Prefixes<Option<KvBits>, Held>>,
    /// Whether steps are computed ahead, so that waiting for a copy would wait for one of them. A device that does so also
    /// copies faster than it starts copies.
    pipelines: bool,
}

/// What a sequence hands in.
#[derive(Clone, Default)]
pub struct Recorder {
    /// Gone with the model, and nowhere where nothing is kept or what the sequence has does not fit.
    kept: Weak<Kept>,
    kv_bits: Option<KvBits>,
    /// The prompt, and the answer so far.
    tokens: Vec<TokenId>,
    /// Chunks that were handed in, or taken.
    chunks: usize,
}

/// What the layers keep of the tokens of a chunk.
struct Held {
    chunk: Chunk,
    /// Whether a sequence can go on behind it, if it has what lies before.
    is_whole: bool,
}

impl Kept {
    /// None yet, of at most `most_bytes`; `pipelines` where steps are computed ahead.
    pub fn new(most_bytes: u64, pipelines: bool) -> Rc<Self> {
        Rc::new(Self { chunks: RefCell::new(Prefixes::new(most_bytes)), pipelines })
    }

    /// Fills the empty `caches` of a sequence with what is kept of the beginning of its prompt, less its last token.
    /// Answers what hands in the rest, and the tokens that the caches have.
    pub fn begin(self: &Rc<Self>, submission: &Submission, caches: &mut [Cache]) -> Result<(Recorder, usize)> {
        let Submission { prompt, kv_bits, .. } = submission;
        let mut recorder = Recorder { kept: Rc::downgrade(self), kv_bits: *kv_bits, tokens: prompt.clone(), chunks: 0 };
        let Some((_, before)) = prompt.split_last() else { return Ok((recorder, 0)) };
        let mut chunks = self.chunks.borrow_mut();
        let path: Vec<_> = chunks.longest(kv_bits, before).into_iter().map(|held| &held.chunk).collect();
        recorder.chunks = Chunk::reach(&path, caches, CHUNK);
        if recorder.chunks > 0 {
            let at_once = if self.pipelines { AT_ONCE_BYTES } else { 0 };
            // What comes behind is computed in blocks.
            Chunk::thaw(&path[..recorder.chunks], caches, CHUNK, prompt.len() + BLOCK, at_once)?;
            self.compute(caches.iter().flat_map(Cache::state))?;
        }
        let done = recorder.chunks * CHUNK;
        Ok((recorder, done))
    }

    /// Has copies made.
    fn compute<'a>(&self, copies: impl IntoIterator<Item = &'a Array>) -> Result<()> {
        let asked = if self.pipelines { transforms::async_eval(copies) } else { transforms::eval(copies) };
        Ok(asked?)
    }

    /// Bytes of all chunks.
    pub fn bytes(&self) -> u64 {
        self.chunks.borrow().bytes()
    }

    /// Keeps nothing any more.
    pub fn clear(&self) {
        self.chunks.borrow_mut().clear();
    }
}

impl Recorder {
    /// Hands in what `caches` have of the first `done` tokens of the prompt.
    pub fn computed(&mut self, done: usize, caches: &mut [Cache]) -> Result<()> {
        self.hand_in(done, caches)?;
        caches.iter_mut().for_each(Cache::forget);
        Ok(())
    }

    /// Adds the next token of the answer, and hands in what `caches` have of those before it. They may have more: the
    /// step after this token may be under way, and is not known to be sound.
    pub fn given(&mut self, token: TokenId, caches: &[Cache]) -> Result<()> {
        let done = self.tokens.len();
        self.tokens.push(token);
        self.hand_in(done, caches)
    }

    /// Drops all that is kept of this sequence, since it may be damaged, and what begins like it.
    pub fn disown(&mut self) {
        if let (Some(kept), Some(first)) = (self.kept.upgrade(), self.tokens.get(..CHUNK)) {
            kept.chunks.borrow_mut().remove(&self.kv_bits, first);
        }
        self.kept = Weak::new();
    }

    fn hand_in(&mut self, done: usize, caches: &[Cache]) -> Result<()> {
        let count = done / CHUNK;
        let Some(kept) = self.kept.upgrade().filter(|_| count > self.chunks) else { return Ok(()) };
        let mut chunks = kept.chunks.borrow_mut();
        let held = chunks.held(&self.kv_bits, &self.tokens[..count * CHUNK]);
        // One that it took or handed in itself does not get better; it may have been evicted.
        let is_held = |place: &usize| held.get(*place).is_some_and(|held| held.is_whole || *place < self.chunks);
        let missing: Vec<usize> = (0..count).filter(|place| !is_held(place)).collect();
        let mut frozen = Vec::new();
        for run in missing.chunk_by(|one, next| one + 1 == *next) {
            frozen.extend(Chunk::freeze(caches, run[0]..run[0] + run.len(), CHUNK)?);
        }
        kept.compute(frozen.iter().flat_map(Chunk::arrays))?;
        self.chunks = count;
        for (place, chunk) in missing.into_iter().zip(frozen) {
            let (path, bytes, is_whole) =
                (&self.tokens[..(place + 1) * CHUNK], chunk.bytes(), chunk.is_whole(caches, CHUNK));
            if !chunks.insert(&self.kv_bits, path, Held { chunk, is_whole }, bytes) {
                // Nor will what comes after it.
                self.kept = Weak::new();
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
