//! Calls whose arguments are written as literals of a language: Python's for LFM2, one of its own for Gemma.
//!
//! Called by `calls`. Nothing is evaluated: names, operators and expressions are no literals.

use serde_json::{Map, Value};

use super::Call;

/// Deepest nesting of lists and objects.
const DEPTH: usize = 64;

/// Around texts in Gemma's literals.
const ESCAPE: &str = "<escape>";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    /// `{key:<escape>text<escape>,other:1}`: keys and texts that are no numbers stand bare.
    Gemma,
    /// `{"key": 'text', "other": True}`.
    Python,
}

/// What is not read yet.
struct Reader<'a> {
    rest: &'a str,
    language: Language,
}

/// `call:name{…}`.
pub(super) fn gemma_call(body: &str) -> Option<Call> {
    let body = body.trim().strip_prefix("call:")?;
    let (name, _) = body.split_once('{')?;
    let mut reader = Reader { rest: &body[name.len()..], language: Language::Gemma };
    let Value::Object(arguments) = reader.value(0)? else { return None };
    reader.rest.trim().is_empty().then(|| Call { name: name.trim().to_owned(), arguments })
}

/// `[name(key=value), other()]`, or one without the brackets.
pub(super) fn python_calls(body: &str) -> Option<Vec<Call>> {
    let body = body.trim();
    let inside = body.strip_prefix('[').and_then(|body| body.strip_suffix(']')).unwrap_or(body);
    let mut reader = Reader { rest: inside, language: Language::Python };
    let mut calls = Vec::new();
    loop {
        let name = reader.up_to(&['('])?.trim().to_owned();
        calls.push(Call { name, arguments: reader.items(['(', ')'], Reader::named)?.into_iter().collect() });
        if !reader.skip(",") {
            break;
        }
    }
    reader.rest.trim().is_empty().then_some(calls)
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '[' => self.items(['[', ']'], |reader| reader.value(depth + 1)).map(Value::Array),
            '{' => {
                let pairs = self.items(['{', '}'], |reader| reader.pair(depth + 1))?;
                Some(Value::Object(Map::from_iter(pairs)))
            }
            quote @ ('"' | '\'') if self.language == Language::Python => self.quoted(quote).map(Value::String),
            '<' if self.skip(ESCAPE) => {
                let (text, behind) = self.rest.split_once(ESCAPE)?;
                self.rest = behind;
                Some(Value::String(text.to_owned()))
            }
            _ => self.bare(),
        }
    }

    /// What stands between brackets, with commas between.
    fn items<T>(&mut self, [open, close]: [char; 2], mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.rest = self.rest.trim_start().strip_prefix(open)?;
        let mut items = Vec::new();
        let mut close_bytes = [0; 4];
        let close: &str = close.encode_utf8(&mut close_bytes);
        while !self.skip(close) {
            items.push(item(self)?);
            if !self.skip(",") && !self.rest.trim_start().starts_with(close) {
                return None;
            }
        }
        Some(items)
    }

    /// `key: value`.
    fn pair(&mut self, depth: usize) -> Option<(String, Value)> {
        self.rest = self.rest.trim_start();
        let key = match self.rest.chars().next()? {
            '"' | '\'' | '<' => match self.value(depth)? {
                Value::String(key) => key,
                _ => return None,
            },
            _ if self.language == Language::Gemma => self.up_to(&[':'])?.trim().to_owned(),
            _ => return None,
        };
        if self.skip(":") { Some((key, self.value(depth)?)) } else { None }
    }

    /// `key=value`.
    fn named(&mut self) -> Option<(String, Value)> {
        let key = self.up_to(&['='])?.trim().to_owned();
        if self.skip("=") { Some((key, self.value(0)?)) } else { None }
    }

    /// A number or a word.
    fn bare(&mut self) -> Option<Value> {
        let word = self.up_to(&[',', ']', '}', ')']).unwrap_or_else(|| std::mem::take(&mut self.rest)).trim();
        match word {
            "True" => Some(true.into()),
            "False" => Some(false.into()),
            "None" => Some(Value::Null),
            _ if self.language == Language::Gemma => {
                Some(serde_json::from_str(word).unwrap_or_else(|_| Value::String(word.to_owned())))
            }
            _ => serde_json::from_str(word).ok(),
        }
    }

    /// A text in quotes, with Python's escapes.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest[1..].char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => match characters.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'u' => {
                        let digits: String = characters.by_ref().take(4).map(|(_, digit)| digit).collect();
                        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    escaped @ ('\\' | '\'' | '"') => text.push(escaped),
                    other => text.extend(['\\', other]),
                },
                _ if character == quote => {
                    self.rest = &self.rest[1 + index + 1..];
                    return Some(text);
                }
                _ => text.push(character),
            }
        }
        None
    }

    /// The text before one of these characters, which stays.
    fn up_to(&mut self, ends: &[char]) -> Option<&'a str> {
        let (before, rest) = self.rest.split_at(self.rest.find(ends)?);
        self.rest = rest;
        Some(before)
    }

    /// Whether this came next, and is read.
    fn skip(&mut self, expected: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}
