//! Which tokens may come next, where the text of a sequence must match a grammar.
//!
//! Everything here is computed by the processor, while the device computes the logits that a mask is for. Called by the
//! backend, which keeps the [`Vocabulary`] with its model, and by the sequence, which obeys a [`Constraint`].

mod vocabulary;

use std::path::PathBuf;

use engine::grammar::{self, Compiled, Grammar};
use engine::message::TokenId;
use llguidance::toktrie::SimpleVob;
use llguidance::{Matcher, ParserFactory};
use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};

use crate::array::scalar;
use crate::error::{Error, Result};

/// The vocabulary of a model as grammars need it, read at the first sequence that has one.
pub struct Vocabulary {
    folder: PathBuf,
    /// Rows of the output head.
    size: u32,
    /// Made for these stop tokens, which are the same for all sequences of a model unless a caller adds some.
    factory: Option<(Vec<TokenId>, ParserFactory)>,
}

impl Vocabulary {
    /// Of the model in `folder`, whose head has `size` rows. Reads nothing yet.
    pub fn new(folder: PathBuf, size: u32) -> Self {
        Self { folder, size, factory: None }
    }

    /// What holds a text to `grammar`, which any of `stop_tokens` may end where it is whole.
    pub fn constrain(&mut self, grammar: &Grammar, stop_tokens: &[TokenId]) -> Result<Constraint> {
        grammar.compile(self.factory(stop_tokens)?).map(Constraint::new).map_err(refused)
    }

    fn factory(&mut self, stop_tokens: &[TokenId]) -> Result<&ParserFactory> {
        let kept = self.factory.take().filter(|(tokens, _)| tokens == stop_tokens);
        let factory = kept.map_or_else(|| self.read(stop_tokens), |(_, factory)| Ok(factory))?;
        Ok(&self.factory.insert((stop_tokens.to_vec(), factory)).1)
    }

    fn read(&self, stop_tokens: &[TokenId]) -> Result<ParserFactory> {
        let tokens = vocabulary::read(&self.folder, self.size)?;
        let ends: Vec<TokenId> = stop_tokens.iter().copied().filter(|token| *token < self.size).collect();
        grammar::factory(&tokens, &ends).map_err(|error| Error::Internal(error.to_string()))
    }
}

/// A grammar at a place in the text of one sequence.
pub struct Constraint {
    matcher: Matcher,
    /// The tokens that may come next, where they are computed already.
    next: Option<SimpleVob>,
}

impl Constraint {
    /// At the start of a text.
    pub fn new(Compiled { matcher, first }: Compiled) -> Self {
        Self { matcher, next: Some(first) }
    }

    /// `logits` of shape `[1, vocabulary]` with −∞ for every token that may not come next. Comes before bias, penalties
    /// and filters, none of which lifts a logit from there.
    pub fn mask(&mut self, logits: &Array) -> Result<Array> {
        let allowed = match self.next.take() {
            Some(allowed) => allowed,
            None => self.matcher.compute_mask().map_err(|_| self.lost())?,
        };
        Ok(only(logits, &allowed)?)
    }

    /// Takes the token that came, and tells whether the text is whole and nothing may follow.
    pub fn accept(&mut self, token: TokenId) -> Result<bool> {
        self.matcher.consume_token(token).map_err(|_| self.lost())?;
        Ok(self.matcher.is_stopped())
    }

    /// Why the grammar cannot be followed further: one with more states than any limit allows, or one with a dead end.
    fn lost(&self) -> Error {
        let words = self.matcher.get_error().unwrap_or_default();
        let reason = words.lines().next().unwrap_or_default();
        refused(format!("it cannot be followed further ({reason})"))
    }
}

fn refused(why: impl std::fmt::Display) -> Error {
    Error::Grammar(format!("the grammar cannot be used: {why}"))
}

fn only(logits: &Array, allowed: &SimpleVob) -> MlxResult<Array> {
    let flags: Vec<bool> = (0..logits.shape()[1] as u32).map(|token| allowed.is_allowed(token)).collect();
    let flags = Array::from_slice(&flags, &[1, flags.len() as i32]);
    ops::select(&flags, logits, &scalar(f32::NEG_INFINITY, logits)?)
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
