//! Tokens to text while they arrive: whole characters only, and in all the text a whole decode would give.
//!
//! Never decodes more than the last two characters' tokens, so its work per token does not grow. Called by the local
//! provider, once per request.

use std::sync::Arc;

use super::TextModel;
use super::tokenizer::{Decoding, Tokenizer};

/// The text of one answer, token by token.
///
/// All pieces together are [`TextModel::decode`] of all tokens, with one exception: where single-byte tokens
/// (`<0xE5>`) stand in a row and some of them are no part of a character, a whole decode gives U+FFFD for every byte
/// of the row, even for characters that were complete before. The stream gives U+FFFD for the stray bytes only: it has
/// shown the characters already.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    model: Arc<TextModel>,
    /// Special tokens that are shown all the same, and their text.
    marks: Vec<(u32, &'static str)>,
    /// Bytes of a character that is not whole yet: at most three between calls.
    bytes: Vec<u8>,
    pieces: Pieces,
}

/// What the next piece is decoded after: some decoders treat the first token of a text unlike the others.
#[derive(Debug, Default, Clone)]
struct Pieces {
    /// Tokens of `bytes`, where single-byte tokens are tokens among others.
    waiting: Vec<u32>,
    /// The tokens of the last character or token shown; empty at the start.
    before: Vec<u32>,
    /// What they are decoded for themselves.
    before_text: String,
}

impl Detokenizer {
    /// At the start of an answer, in which `marks` are shown even where they are special tokens.
    pub fn new(model: Arc<TextModel>, marks: &[&'static str]) -> Self {
        let marks = marks.iter().filter_map(|mark| Some((model.tokenizer.special_id(mark)?, *mark)));
        Self { marks: marks.collect(), model, bytes: Vec::new(), pieces: Pieces::default() }
    }

    /// The text that is certain with this token: empty for special and unknown tokens, and while a character lacks
    /// bytes.
    pub fn push(&mut self, id: u32) -> String {
        if let Some((_, mark)) = self.marks.iter().copied().find(|(mark, _)| *mark == id) {
            return self.finish() + mark;
        }
        let tokenizer = &self.model.tokenizer;
        let Some(token) = tokenizer.shown(id) else { return String::new() };
        let byte = match tokenizer.decoding() {
            Decoding::ByteLevel => {
                extend_byte_level(&mut self.bytes, &token);
                return take_characters(&mut self.bytes);
            }
            Decoding::Pieces { byte_fallback } => single_byte(&token).filter(|_| byte_fallback),
        };
        if let Some(byte) = byte {
            self.bytes.push(byte);
            self.pieces.waiting.push(id);
            return self.pieces.take_characters(tokenizer, &mut self.bytes);
        }
        let stray = self.pieces.give_up(tokenizer, &mut self.bytes);
        stray + &self.pieces.show(tokenizer, vec![id])
    }

    /// What a cut-off character leaves at the end of a text: U+FFFD, or nothing.
    pub fn finish(&mut self) -> String {
        match self.model.tokenizer.decoding() {
            Decoding::ByteLevel => String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned(),
            Decoding::Pieces { .. } => self.pieces.give_up(&self.model.tokenizer, &mut self.bytes),
        }
    }
}

impl Pieces {
    /// Shows what is whole of `bytes`, a stray byte as U+FFFD.
    fn take_characters(&mut self, tokenizer: &Tokenizer, bytes: &mut Vec<u8>) -> String {
        let mut text = String::new();
        while !bytes.is_empty() {
            match std::str::from_utf8(bytes) {
                Ok(_) => {
                    bytes.clear();
                    let waiting = std::mem::take(&mut self.waiting);
                    text.push_str(&self.show(tokenizer, waiting));
                }
                Err(error) => {
                    let Some(stray) = error.error_len() else { break };
                    text.push_str(&self.skip(tokenizer, bytes, stray));
                }
            }
        }
        text
    }

    /// Shows the bytes of a character that will not become whole.
    fn give_up(&mut self, tokenizer: &Tokenizer, bytes: &mut Vec<u8>) -> String {
        let stray = bytes.len();
        self.skip(tokenizer, bytes, stray)
    }

    /// Shows the first `stray` bytes as U+FFFD, each.
    fn skip(&mut self, tokenizer: &Tokenizer, bytes: &mut Vec<u8>, stray: usize) -> String {
        bytes.drain(..stray);
        self.waiting.drain(..stray);
        if stray > 0 && self.before.is_empty() {
            // Something is shown, so the next token is not the first; any other token can stand for the stray byte.
            self.before = tokenizer.id("<0x41>").into_iter().collect();
            self.before_text = tokenizer.decode(&self.before);
        }
        "\u{FFFD}".repeat(stray)
    }

    /// Shows tokens that are whole characters.
    fn show(&mut self, tokenizer: &Tokenizer, ids: Vec<u32>) -> String {
        let both = tokenizer.decode(&[self.before.as_slice(), &ids].concat());
        let alone = tokenizer.decode(&ids);
        let text = both.strip_prefix(&self.before_text).unwrap_or(&alone).to_owned();
        self.before = ids;
        self.before_text = alone;
        text
    }
}

/// Takes all whole characters out of `bytes`; what can never become one is U+FFFD, as in a lossy conversion.
fn take_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        let invalid = chunk.invalid();
        let cut_off = taken + chunk.valid().len() + invalid.len() == bytes.len()
            && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        text.push_str(chunk.valid());
        taken += chunk.valid().len();
        if cut_off {
            break;
        }
        if !invalid.is_empty() {
            text.push('\u{FFFD}');
            taken += invalid.len();
        }
    }
    bytes.drain(..taken);
    text
}

/// `<0xE5>`.
fn single_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// Undoes the byte-to-character table of GPT-2, in which printable Latin-1 characters stand for themselves and the
/// other bytes, in order, for the characters from U+0100 on. A token with a character outside the table is plain text.
fn extend_byte_level(bytes: &mut Vec<u8>, token: &str) {
    let start = bytes.len();
    for character in token.chars() {
        let Some(Some(byte)) = BYTES.get(character as usize) else {
            bytes.truncate(start);
            bytes.extend_from_slice(token.as_bytes());
            return;
        };
        bytes.push(*byte);
    }
}

const BYTES: [Option<u8>; 0x144] = {
    let mut table = [None; 0x144];
    let mut byte = 0;
    let mut others = 0x100;
    while byte < 0x100 {
        if matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) {
            table[byte] = Some(byte as u8);
        } else {
            table[others] = Some(byte as u8);
            others += 1;
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
#[path = "detokenizer_tests.rs"]
mod tests;
