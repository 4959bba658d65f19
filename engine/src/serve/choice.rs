//! Who is served in the next turn, as plain functions of who wants what.
//!
//! A turn computes at most one piece of a prompt or text, and then a token of each sequence that is that far. The piece is
//! of the most urgent that wants one, the first that came of equals. While it is computed, less urgent sequences hold: who
//! waits for an answer does not wait for the steps of a batch that nobody waits for.

use crate::backend::Pace;
use crate::message::Priority;

/// Turns for which less urgent sequences hold at most, one after another.
const MOST_HELD: u32 = 16;

/// What a piece of work wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A piece of its prompt or text.
    Piece,
    /// Tokens.
    Tokens,
    /// Nothing: it is paused.
    Nothing,
}

/// Who is served, by their places.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Whose piece is computed, and how long that may take.
    pub piece: Option<(usize, Pace)>,
    /// Who gets a token.
    pub rows: Vec<usize>,
    /// Whether somebody holds.
    pub holds: bool,
}

/// Chooses among all that have not ended, in the order of their arrival; `held` turns before this one have held somebody.
pub(super) fn choose(wants: &[(Priority, Need)], held: u32) -> Turn {
    let with = |need: Need| wants.iter().enumerate().filter(move |(_, want)| want.1 == need);
    // Of equals `max_by_key` takes the last, which from the back is the first.
    let urgent = with(Need::Piece).rev().max_by_key(|(_, want)| want.0);
    let floor = urgent.filter(|_| held < MOST_HELD).map(|(_, want)| want.0);
    let rows: Vec<usize> =
        with(Need::Tokens).filter(|(_, want)| Some(want.0) >= floor).map(|(place, _)| place).collect();
    let holds = rows.len() < with(Need::Tokens).count();
    let pace = if rows.is_empty() { Pace::Alone } else { Pace::Shared };
    Turn { piece: urgent.map(|(place, _)| (place, pace)), rows, holds }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
