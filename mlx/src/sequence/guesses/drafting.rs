//! What a draft guesses behind the text of one sequence: the likeliest token, and the likeliest behind that.
//!
//! It keeps keys and values of its own. They hold a beginning of the text, never what was guessed and not drawn: once a
//! pass of the model has shown which guesses are right, they are cut to those. Nothing is computed before guesses are due;
//! what is missing of the text then is computed in chunks, one with each step of the sequence.

use std::rc::Rc;
use std::time::{Duration, Instant};

use engine::message::{KvBits, TokenId};
use engine::speculation::{MOST_GUESSES, Worth};
use mlx_rs::ops::indexing::argmax_axis;
use mlx_rs::{memory, ops, transforms};

use super::super::batch::numbers;
use crate::array::{columns, tokens, tokens_of};
use crate::cache::{self, Cache};
use crate::device::Device;
use crate::draft::Draft;
use crate::error::Result;

/// Tokens that may be missing of the text where guesses are computed at once.
const FEW: usize = 2 * MOST_GUESSES;

/// A draft beside one sequence.
pub(super) struct Drafting {
    draft: Rc<Draft>,
    caches: Vec<Cache>,
    /// Tokens that both models have.
    vocab_size: u32,
    /// What its guesses were worth so far.
    pub worth: Worth,
    /// What each token took that was computed beforehand.
    token_time: Option<Duration>,
}

impl Drafting {
    /// Beside a model with so many tokens, of which nothing is computed. Not supported where the draft's keys and values
    /// cannot be kept in `kv_bits`.
    pub(super) fn new(draft: &Rc<Draft>, vocab_size: u32, kv_bits: Option<KvBits>) -> Result<Self> {
        let model = draft.model();
        let caches = match kv_bits {
            Some(bits) => cache::in_bits(model.caches(), bits, model.head_dim())?,
            None => model.caches(),
        };
        let vocab_size = vocab_size.min(model.facts().vocab_size);
        Ok(Self { draft: Rc::clone(draft), caches, vocab_size, worth: Worth::default(), token_time: None })
    }

    /// How many of `most` guesses fit behind a text; 0 where it has tokens that the draft has not.
    pub(super) fn fitting(&self, text: &[TokenId], most: usize) -> usize {
        let context = self.draft.model().facts().context as usize;
        let is_known = text.iter().skip(self.len()).all(|token| *token < self.vocab_size);
        if is_known { most.min(context.saturating_sub(text.len())) } else { 0 }
    }

    /// Whether so little of the text is missing that guesses can be computed at once.
    pub(super) fn is_near(&self, text: &[TokenId]) -> bool {
        self.missing(text) <= FEW
    }

    /// Whether computing what is missing may pay within so many tokens, as far as its time is known.
    pub(super) fn repays(&self, text: &[TokenId], wanted: usize) -> bool {
        let time = self.token_time.map(|time| time * self.missing(text) as u32);
        time.is_none_or(|time| self.worth.repays(time, wanted))
    }

    /// Computes a chunk of the text, whose last token is left to the guesses.
    pub(super) fn catch_up(&mut self, text: &[TokenId], device: &Device) -> Result<()> {
        let begun = Instant::now();
        let count = device.shared_chunk.min(self.missing(text).saturating_sub(1));
        let start = self.len();
        let chunk = tokens(&text[start..start + count]).reshape(&[1, count as i32])?;
        self.draft.model().hidden(&chunk, &mut self.caches)?;
        transforms::eval(self.caches.iter().flat_map(Cache::state))?;
        memory::clear_cache()?;
        self.token_time = Some(begun.elapsed() / count.max(1) as u32);
        Ok(())
    }

    /// The likeliest `count` tokens behind the text, one after the other.
    pub(super) fn guess(&mut self, text: &[TokenId], count: usize) -> Result<Vec<TokenId>> {
        let model = self.draft.model();
        let missing = &text[self.len()..];
        let mut ids = tokens(missing).reshape(&[1, missing.len() as i32])?;
        let mut guesses = Vec::new();
        for _ in 0..count {
            let hidden = model.hidden(&ids, &mut self.caches)?;
            let last = hidden.shape()[1];
            let logits = model.logits(&tokens_of(&hidden, last - 1, last)?)?;
            ids = argmax_axis(&columns(&logits, 0, self.vocab_size as i32)?, -1, None)?;
            guesses.push(ids.clone());
        }
        let guesses = ops::concatenate(&guesses, 1)?;
        transforms::eval([&guesses])?;
        numbers(&guesses)
    }

    /// Takes back all but the first `len` tokens.
    pub(super) fn cut(&mut self, len: usize) -> Result<()> {
        if self.len() > len {
            for cache in &mut self.caches {
                cache.cut(len as i32)?;
            }
        }
        Ok(())
    }

    /// Tokens computed so far.
    fn len(&self) -> usize {
        self.caches.first().map_or(0, Cache::len) as usize
    }

    fn missing(&self, text: &[TokenId]) -> usize {
        text.len().saturating_sub(self.len())
    }
}

#[cfg(test)]
#[path = "drafting_tests.rs"]
mod tests;
