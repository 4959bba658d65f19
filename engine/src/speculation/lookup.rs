//! Guesses taken from the text itself: what followed when the last few tokens came before.

use std::collections::HashMap;
use std::hash::Hash;

use crate::message::TokenId;

/// The tokens of a prompt and its answer, and where each pair and each three of them stood last.
#[derive(Debug, Default)]
pub struct Lookup {
    tokens: Vec<TokenId>,
    /// Behind the last occurrence.
    pairs: HashMap<[TokenId; 2], usize>,
    threes: HashMap<[TokenId; 3], usize>,
    /// What followed the last three tokens, or else the last two, when they came before.
    next: Option<usize>,
}

impl Lookup {
    /// With a prompt.
    pub fn new(prompt: &[TokenId]) -> Self {
        let mut lookup = Self::default();
        for token in prompt {
            lookup.push(*token);
        }
        lookup
    }

    /// Adds the next token.
    pub fn push(&mut self, token: TokenId) {
        self.tokens.push(token);
        let pair = seen(&mut self.pairs, &self.tokens);
        self.next = seen(&mut self.threes, &self.tokens).or(pair);
    }

    /// All tokens.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// The last token.
    pub fn last(&self) -> Option<TokenId> {
        self.tokens.last().copied()
    }

    /// The next `most` tokens as they came the last time, or none. What came may reach up to here: then it repeats
    /// itself.
    pub fn guess(&self, most: usize) -> Vec<TokenId> {
        let Some(before) = self.next.map(|next| &self.tokens[next..]) else { return Vec::new() };
        before.iter().cycle().take(most).copied().collect()
    }
}

/// Where the last tokens stood before; from now on they stand here.
fn seen<const COUNT: usize>(places: &mut HashMap<[TokenId; COUNT], usize>, tokens: &[TokenId]) -> Option<usize>
where
    [TokenId; COUNT]: Hash + Eq,
{
    places.insert(*tokens.last_chunk()?, tokens.len())
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
