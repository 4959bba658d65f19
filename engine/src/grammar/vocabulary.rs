//! The bytes of every token, from `tokenizer.json`: what its decoder would make of a token in the middle of a text.
//!
//! Two kinds are known, which nearly all models are of: byte-level, where a token's characters stand for bytes, and
//! pieces of text, some of which may stand for single bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use llguidance::toktrie::TokTrie;
use serde::Deserialize;
use serde_json::Value;

use super::constraint::ConstraintError as Error;

/// The largest real files have about 35 MB.
const MAX_BYTES: u64 = 256 << 20;

/// Longest token that a trie can hold. The longest of any known vocabulary are runs of 1024 spaces.
const LONGEST: usize = 1024;

#[derive(Deserialize)]
struct Tokenizer {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    decoder: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
}

/// How a token's characters become bytes.
#[derive(Debug, PartialEq)]
enum Decoding {
    /// By GPT-2's table.
    ByteLevel,
    /// As they are.
    Pieces {
        /// Stands for a space.
        space: Option<char>,
        /// Whether `<0x41>` stands for the byte 0x41.
        byte_fallback: bool,
    },
}

/// The bytes of each of `size` tokens, in the order of their numbers. Special tokens are no text: theirs are llguidance's
/// marker and their name. Numbers without a token have none: models often have more rows than tokens.
pub fn read(folder: &Path, size: u32) -> Result<Vec<Vec<u8>>, Error> {
    let path = folder.join("tokenizer.json");
    let broken = |why: &dyn std::fmt::Display| Error::Broken(format!("{}: {why}", path.display()));
    let mut text = Vec::new();
    let file = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
    if file.map_err(|error| broken(&error))? as u64 > MAX_BYTES {
        return Err(broken(&format!("more than {MAX_BYTES} bytes")));
    }
    let tokenizer: Tokenizer = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
    let decoding = decoding(&tokenizer.decoder).ok_or_else(|| {
        Error::NotSupported(format!("{}: its kind of decoder is not known, which grammars need", path.display()))
    })?;
    Ok(bytes(tokenizer, &decoding, size as usize))
}

fn bytes(tokenizer: Tokenizer, decoding: &Decoding, size: usize) -> Vec<Vec<u8>> {
    let mut tokens = vec![Vec::new(); size];
    let mut set = |id: u32, bytes: Vec<u8>| {
        if let Some(slot) = tokens.get_mut(id as usize).filter(|_| bytes.len() <= LONGEST) {
            *slot = bytes;
        }
    };
    let table = byte_table();
    for (token, id) in tokenizer.model.vocab {
        set(id, decoding.bytes(&token, &table));
    }
    for Added { id, content, special } in tokenizer.added_tokens {
        let marker: &[u8] = if special { &[TokTrie::SPECIAL_TOKEN_MARKER] } else { &[] };
        set(id, [marker, content.as_bytes()].concat());
    }
    tokens
}

impl Decoding {
    fn bytes(&self, token: &str, table: &HashMap<char, u8>) -> Vec<u8> {
        match self {
            // A token with a character that is not in the table is plain text.
            Self::ByteLevel => {
                let bytes: Option<Vec<u8>> = token.chars().map(|char| table.get(&char).copied()).collect();
                bytes.unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Self::Pieces { space, byte_fallback } => match single_byte(token).filter(|_| *byte_fallback) {
                Some(byte) => vec![byte],
                None => space.map_or_else(|| token.to_owned(), |space| token.replace(space, " ")).into_bytes(),
            },
        }
    }
}

/// `<0xE5>`.
fn single_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// The kind that a decoder, or a sequence of them, amounts to; `None` for one that splits text in a way of its own.
fn decoding(decoder: &Value) -> Option<Decoding> {
    let alone = std::slice::from_ref(decoder);
    let steps = decoder["decoders"].as_array().map_or(alone, Vec::as_slice);
    let kinds: Vec<&str> = steps.iter().map(|step| step["type"].as_str()).collect::<Option<_>>()?;
    if kinds.contains(&"ByteLevel") {
        return Some(Decoding::ByteLevel);
    }
    if kinds.iter().any(|kind| !["Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"].contains(kind)) {
        return None;
    }
    let space = steps.iter().find_map(|step| match step["type"].as_str()? {
        "Replace" if step["content"] == " " => step["pattern"]["String"].as_str(),
        "Metaspace" => step["replacement"].as_str(),
        _ => None,
    });
    let space = space.and_then(|text| text.parse().ok());
    Some(Decoding::Pieces { space, byte_fallback: kinds.contains(&"ByteFallback") })
}

/// GPT-2's characters for bytes: printable Latin-1 characters stand for themselves, the other bytes, in order, for the
/// characters from U+0100 on.
fn byte_table() -> HashMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte));
    let others = ('\u{100}'..).zip(others);
    (0..=u8::MAX).filter(printable).map(|byte| (char::from(byte), byte)).chain(others).collect()
}

#[cfg(test)]
#[path = "vocabulary_tests.rs"]
mod tests;
