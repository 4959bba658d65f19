//! Which tokens may come next, where the text of a sequence must match a grammar.
//!
//! Everything here is computed by the processor, whatever computes the logits that a mask is for. Called by an engine's
//! backend, which keeps the [`Vocabulary`] with its model, and by its sequences, each of which obeys a [`Constraint`].

use std::path::PathBuf;

use llguidance::toktrie::SimpleVob;
use llguidance::{Matcher, ParserFactory};

use super::{Compiled, Grammar, vocabulary};
use crate::message::{Failure, FailureKind, TokenId};

/// Why a sequence cannot obey a grammar. Texts fit after "failed to …: ".
#[derive(Debug, thiserror::Error)]
pub enum ConstraintError {
    /// The tokenizer's file is missing or damaged.
    #[error("{0}")]
    Broken(String),
    /// The tokenizer is sound, but not of a kind that is known.
    #[error("{0}")]
    NotSupported(String),
    /// The grammar is faulty or too much.
    #[error("{0}")]
    Grammar(String),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

impl From<ConstraintError> for Failure {
    fn from(error: ConstraintError) -> Self {
        let kind = match error {
            ConstraintError::Broken(_) => FailureKind::ModelBroken,
            ConstraintError::NotSupported(_) => FailureKind::NotSupported,
            ConstraintError::Grammar(_) => FailureKind::InvalidGrammar,
            ConstraintError::Internal(_) => FailureKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

type Result<T> = std::result::Result<T, ConstraintError>;

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
        super::factory(&tokens, &ends).map_err(|error| ConstraintError::Internal(error.to_string()))
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

    /// Of `size` rows of the output head, which are tokens that may come next. Asked once for each token. Comes before
    /// bias, penalties and filters, none of which lifts a logit from −∞.
    pub fn allowed(&mut self, size: u32) -> Result<Vec<bool>> {
        let allowed = match self.next.take() {
            Some(allowed) => allowed,
            None => self.matcher.compute_mask().map_err(|_| self.lost())?,
        };
        Ok((0..size).map(|token| allowed.is_allowed(token)).collect())
    }

    /// Takes the token that came, and tells whether the text is whole and nothing may follow.
    pub fn accept(&mut self, token: TokenId) -> Result<bool> {
        self.matcher.consume_token(token).map_err(|_| self.lost())?;
        Ok(self.matcher.is_stopped())
    }

    /// Why the grammar cannot be followed further: one with more states than any limit allows, or one with a dead end.
    fn lost(&self) -> ConstraintError {
        let words = self.matcher.get_error().unwrap_or_default();
        let reason = words.lines().next().unwrap_or_default();
        refused(format!("it cannot be followed further ({reason})"))
    }
}

fn refused(why: impl std::fmt::Display) -> ConstraintError {
    ConstraintError::Grammar(format!("the grammar cannot be used: {why}"))
}
