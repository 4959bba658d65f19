//! Who is served in a turn, as plain functions of who wants what.
//!
//! A turn computes pieces of prompts and texts until its [`Budget`] is used up, and then a token of each sequence that is
//! that far. The pieces are of the most urgent that want one, the first that came of equals. While they are computed, less
//! urgent sequences hold: who waits for an answer does not wait for the steps of a batch that nobody waits for.

use crate::backend::Pace;
use crate::message::Priority;

/// Turns for which less urgent sequences hold at most, one after another.
const MOST_HELD: u32 = 16;

/// Pieces of one turn at most: each takes the time of a step however short it is, for it reads all weights.
const MOST_PIECES: u32 = 16;

/// What a piece of work wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A piece of its prompt or text, of which so many tokens are left.
    Piece(u32),
    /// Tokens.
    Tokens,
    /// Nothing: it is paused, or has all.
    Nothing,
}

/// What somebody wants, and how urgently.
pub(super) type Want = (Priority, Need);

/// What a turn may still compute of prompts and texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Tokens of a turn.
    whole: u32,
    /// Of these, the ones that are not spent.
    left: u32,
    /// How urgent all its pieces are, once it has one.
    level: Option<Priority>,
}

impl Budget {
    /// Of a turn that begins and computes so many tokens of several prompts.
    pub(super) fn new(tokens: u32) -> Self {
        Self { whole: tokens.max(1), left: tokens.max(1), level: None }
    }

    /// Takes a piece that was computed.
    pub(super) fn spend(&mut self, priority: Priority, tokens: u32) {
        self.left = self.left.saturating_sub(self.price(tokens));
        self.level = Some(priority);
    }

    /// Whether nothing was computed.
    pub(super) fn is_whole(&self) -> bool {
        self.level.is_none()
    }

    /// Whether one more is computed: the first however long it is, others as far as they fit. Less urgent ones wait, for
    /// the first token of those before them comes at the end of the turn.
    fn has_room(&self, priority: Priority, tokens: u32) -> bool {
        self.level.is_none_or(|level| level == priority && self.price(tokens.min(self.whole)) <= self.left)
    }

    fn price(&self, tokens: u32) -> u32 {
        tokens.max(self.whole.div_ceil(MOST_PIECES))
    }
}

/// Whose piece is computed next, and how long that may take; `None` when it is the sequences' turn.
pub(super) fn piece(wants: &[Want], held: u32, budget: &Budget) -> Option<(usize, Pace)> {
    let (at, (priority, tokens)) = most_urgent(wants)?;
    let pace = if rows(wants, held).places.is_empty() { Pace::Alone } else { Pace::Shared };
    budget.has_room(priority, tokens).then_some((at, pace))
}

/// Who gets a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// By their places.
    pub places: Vec<usize>,
    /// Whether somebody holds.
    pub holds: bool,
}

/// Chooses among all that have not ended, in the order of their arrival; `held` turns before this one have held somebody.
pub(super) fn rows(wants: &[Want], held: u32) -> Rows {
    let floor = most_urgent(wants).filter(|_| held < MOST_HELD).map(|(_, (priority, _))| priority);
    let far = || wants.iter().enumerate().filter(|(_, (_, need))| *need == Need::Tokens);
    let places: Vec<usize> =
        far().filter(|(_, (priority, _))| Some(*priority) >= floor).map(|(place, _)| place).collect();
    let holds = places.len() < far().count();
    Rows { places, holds }
}

/// Who is the most urgent to want a piece, and what is left of it.
fn most_urgent(wants: &[Want]) -> Option<(usize, (Priority, u32))> {
    let pieces = wants.iter().enumerate().filter_map(|(place, (priority, need))| match need {
        Need::Piece(tokens) => Some((place, (*priority, *tokens))),
        Need::Tokens | Need::Nothing => None,
    });
    // Of equals `max_by_key` takes the last, which from the back is the first.
    pieces.rev().max_by_key(|(_, (priority, _))| *priority)
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
