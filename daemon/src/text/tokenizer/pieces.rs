//! Tokens of texts that come again: a conversation is sent whole with each of its turns, and counted before it is sent.
//!
//! A tokenizer cuts a text at its added tokens before all else, and what lies between two of them becomes tokens by itself
//! (`tokenizers`, `added_vocabulary.rs`). So a text is cut here before special tokens, and the tokens of long pieces are
//! kept: the last ones asked for, up to a bound in bytes.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::{AddedToken, AddedVocabulary};

/// Shorter pieces are turned into tokens as fast as they are looked up, or nearly.
const LEAST_BYTES: usize = 512;

/// Of a model's pieces that are kept, their tokens included.
const MOST_BYTES: usize = 16 << 20;

/// The pieces of one tokenizer.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Finds the tokens that texts are cut before; `None` where there are none.
    cuts: Option<AhoCorasick>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    pieces: HashMap<Box<str>, Piece>,
    bytes: usize,
    /// Counts what was asked for.
    now: u64,
}

#[derive(Debug)]
struct Piece {
    tokens: Box<[u32]>,
    /// When it was asked for last.
    last: u64,
}

impl Pieces {
    /// None kept yet, for texts with these tokens.
    pub(super) fn of(added: &AddedVocabulary) -> Self {
        let added: Vec<&AddedToken> = added.get_added_tokens_decoder().values().collect();
        let cuts: Vec<&str> = added.iter().filter(|token| cuts(token, &added)).map(|token| &*token.content).collect();
        let finder = || AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&cuts).ok();
        Self { cuts: if cuts.is_empty() { None } else { finder() }, kept: Mutex::default() }
    }

    /// The tokens of a text: those of its pieces that are kept, and what `tokens` makes of the others.
    pub(super) fn encode<E>(&self, text: &str, tokens: impl Fn(&str) -> Result<Vec<u32>, E>) -> Result<Vec<u32>, E> {
        let mut all = Vec::new();
        for piece in self.cut(text) {
            if piece.len() < LEAST_BYTES {
                all.extend(tokens(piece)?);
            } else if !self.recall(piece, &mut all) {
                let new = tokens(piece)?;
                all.extend_from_slice(&new);
                self.keep(piece, new);
            }
        }
        Ok(all)
    }

    /// The text in pieces, each but the first with such a token at its beginning. Short ones stay with those before them.
    fn cut<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut pieces = Vec::new();
        let mut begin = 0;
        for cut in self.cuts.iter().flat_map(|cuts| cuts.find_iter(text)) {
            if cut.start() - begin >= LEAST_BYTES {
                pieces.push(&text[begin..cut.start()]);
                begin = cut.start();
            }
        }
        pieces.push(&text[begin..]);
        pieces
    }

    /// Adds the tokens of a piece that is kept.
    fn recall(&self, piece: &str, all: &mut Vec<u32>) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.now += 1;
        let now = kept.now;
        let Some(found) = kept.pieces.get_mut(piece) else { return false };
        found.last = now;
        all.extend_from_slice(&found.tokens);
        true
    }

    /// Keeps a piece, and forgets those that nobody asked for longest.
    fn keep(&self, piece: &str, tokens: Vec<u32>) {
        let size = bytes(piece, &tokens);
        if size > MOST_BYTES {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.bytes + size > MOST_BYTES {
            let oldest = kept.pieces.iter().min_by_key(|(_, piece)| piece.last).map(|(text, _)| text.clone());
            let Some((text, old)) = oldest.and_then(|text| kept.pieces.remove_entry(&text)) else { break };
            kept.bytes -= bytes(&text, &old.tokens);
        }
        let last = kept.now;
        kept.bytes += size;
        if let Some(same) = kept.pieces.insert(piece.into(), Piece { tokens: tokens.into(), last }) {
            // Somebody else has kept it meanwhile.
            kept.bytes -= bytes(piece, &same.tokens);
        }
    }
}

fn bytes(piece: &str, tokens: &[u32]) -> usize {
    piece.len() + size_of_val(tokens)
}

/// Whether a text may be cut before each place where this token stands in it: the tokenizer then finds it there whatever
/// comes before, and takes nothing of that along.
fn cuts(token: &AddedToken, added: &[&AddedToken]) -> bool {
    let AddedToken { content, single_word, lstrip, normalized, special, .. } = token;
    // What comes before may be a word by itself, or take white space along.
    let begins_apart =
        content.starts_with(|first: char| !first.is_alphanumeric() && first != '_' && !first.is_whitespace());
    if *single_word || *lstrip || *normalized || !special || !begins_apart {
        return false;
    }
    let beginnings: HashSet<&str> = content.char_indices().skip(1).map(|(end, _)| &content[..end]).collect();
    added.iter().map(|other| other.content.as_str()).filter(|other| other != content).all(|other| {
        let runs_into = other.char_indices().skip(1).any(|(begin, _)| beginnings.contains(&other[begin..]));
        !runs_into && !other.contains(content.as_str())
    })
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
