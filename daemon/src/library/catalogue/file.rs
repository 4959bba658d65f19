//! A text of `[[model]]` tables, taken apart: each entry with its lines, each problem with its own.
//!
//! Says what is no TOML, which keys nobody knows and which values have the wrong type. What an entry means is decided
//! by its caller, who lays it over others first.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table};

use super::fact::{Fact, KEYS};

/// Most problems that are told.
const MAX_PROBLEMS: usize = 32;

/// Letters of a problem that are told; it may quote what was written.
const MAX_LETTERS: usize = 400;

/// Keys of a file.
const TOP: &[&str] = &["model"];

/// A file with its name.
pub(super) struct Text<'a> {
    name: &'a str,
    whole: &'a str,
    /// Where lines begin.
    starts: Vec<usize>,
}

/// One entry.
pub(super) struct Row {
    pub table: Table,
    /// Line of its heading.
    line: usize,
    /// Lines of its keys.
    lines: BTreeMap<String, usize>,
}

/// What is wrong, in the order in which it was found.
#[derive(Default)]
pub(super) struct Problems {
    texts: Vec<String>,
    untold: usize,
}

impl<'a> Text<'a> {
    pub fn new(name: &'a str, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { name, whole: text, starts: ends.map(|(at, _)| at + 1).collect() }
    }

    /// A problem of a line in words.
    pub fn place(&self, line: usize, why: &str) -> String {
        format!("{}, line {line}: {why}", self.name)
    }

    /// From 1 on.
    fn line(&self, at: usize) -> usize {
        1 + self.starts.partition_point(|start| *start <= at)
    }

    fn place_of(&self, error: &toml::de::Error) -> String {
        self.place(error.span().map_or(1, |span| self.line(span.start)), error.message())
    }
}

impl Row {
    /// Where it says this; where it says nothing of it, the entry.
    pub fn line_of(&self, key: &str) -> usize {
        self.lines.get(key).copied().unwrap_or(self.line)
    }
}

impl Problems {
    pub fn add(&mut self, text: &str) {
        if self.texts.len() < MAX_PROBLEMS {
            self.texts.push(text.chars().take(MAX_LETTERS).collect());
        } else {
            self.untold += 1;
        }
    }

    pub fn into_texts(mut self) -> Vec<String> {
        if self.untold > 0 {
            self.texts.push(format!("and {} more", self.untold));
        }
        self.texts
    }
}

/// The entries of a text, without those that are wrong by themselves.
pub(super) fn rows(text: &Text, problems: &mut Problems) -> Vec<Row> {
    let file = match DeTable::parse(text.whole) {
        Ok(file) => file.into_inner(),
        Err(error) => {
            problems.add(&text.place_of(&error));
            return Vec::new();
        }
    };
    unknown(&file, TOP, text, problems);
    let Some((key, models)) = file.into_iter().find(|(key, _)| key.get_ref() == "model") else { return Vec::new() };
    let DeValue::Array(models) = models.into_inner() else {
        problems.add(&text.place(text.line(key.span().start), "entries of a catalogue begin with [[model]]"));
        return Vec::new();
    };
    models.into_iter().filter_map(|model| row(model, text, problems)).collect()
}

fn row(model: Spanned<DeValue>, text: &Text, problems: &mut Problems) -> Option<Row> {
    let line = text.line(model.span().start);
    let mut lines = BTreeMap::new();
    if let Some(table) = model.get_ref().as_table() {
        if unknown(table, KEYS, text, problems) {
            return None;
        }
        lines.extend(table.keys().map(|key| (key.get_ref().to_string(), text.line(key.span().start))));
    }
    // Of what it says by itself only the types are looked at.
    let typed = Fact::deserialize(ValueDeserializer::from(model.clone()));
    let read = typed.and_then(|_| Table::deserialize(ValueDeserializer::from(model)));
    read.map_err(|error| problems.add(&text.place_of(&error))).ok().map(|table| Row { table, line, lines })
}

/// Tells the keys that are not among those that are known, and whether there are any.
fn unknown(table: &DeTable, known: &[&str], text: &Text, problems: &mut Problems) -> bool {
    let mut any = false;
    for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
        let why = match nearest(key.get_ref(), known) {
            Some(nearest) => format!("there is no key `{}`; did you mean `{nearest}`?", key.get_ref()),
            None => format!("there is no key `{}`, only {}", key.get_ref(), known.join(", ")),
        };
        problems.add(&text.place(text.line(key.span().start), &why));
        any = true;
    }
    any
}

/// The name that was probably meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    /// A letter in three is another.
    const SIMILAR: f64 = 0.66;
    if name.len() > MAX_LETTERS {
        return None;
    }
    let rated = known.iter().map(|known| (strsim::normalized_damerau_levenshtein(name, known), *known));
    rated.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(similar, _)| *similar >= SIMILAR).map(|(_, known)| known)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
