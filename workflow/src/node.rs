//! How a text becomes types: every value is read by itself, so that all that is wrong is found at once, each at its place.

use std::fmt;
use std::ops::Deref;

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problems, listed, nearest, quote, way_out};

/// Most mistakes of writing that are told of one file.
const MOST_MISWRITTEN: usize = 10;

/// A value of a file and its place.
pub type Node<'i> = Spanned<DeValue<'i>>;

/// What can be read of a file.
pub trait FromToml: Sized {
    /// The value; `None`, and a problem, where it is none.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// What stands for it where its key is not there; `None` where the key must be there.
    fn absent() -> Option<Self> {
        None
    }

    /// What editors are told.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// A value that remembers its place.
#[derive(Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands in the file, in bytes.
    pub at: usize,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Reads a whole text.
pub fn read<T: FromToml>(text: &str, most_bytes: usize, problems: &mut Problems) -> Option<T> {
    if text.len() > most_bytes {
        problems.add(0, format!("the file has {} bytes, but {most_bytes} are the most", text.len()));
        return None;
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(MOST_MISWRITTEN) {
        // Some of the parser's messages have several lines.
        let words = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        let at = error.span().map_or(0, |span| span.start);
        problems.add(at, format!("this is no TOML: {words}"));
    }
    if !errors.is_empty() {
        return None;
    }
    let span = table.span();
    T::read(&Spanned::new(span, DeValue::Table(table.into_inner())), problems)
}

/// A table whose keys are taken one after the other.
pub struct Table<'n, 'i> {
    entries: &'n DeTable<'i>,
    at: usize,
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl<'n, 'i> Table<'n, 'i> {
    /// Of a value that must be one.
    pub fn of(node: &'n Node<'i>, problems: &mut Problems) -> Option<Self> {
        let DeValue::Table(entries) = node.get_ref() else {
            wrong(node, "must be a table", problems);
            return None;
        };
        Some(Self { entries, at: node.span().start, known: Vec::new(), missing: Vec::new() })
    }

    /// Where the table begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The value of a key. What cannot be read counts as absent where that is allowed: the problem is noted.
    pub fn take<T: FromToml>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T> {
        self.take_or(key, T::absent(), problems)
    }

    /// The value of a key, or what stands for it.
    pub fn take_or<T: FromToml>(&mut self, key: &'static str, absent: Option<T>, problems: &mut Problems) -> Option<T> {
        self.known.push(key);
        if let Some(node) = self.entries.get(key) {
            return T::read(node, problems).or(absent);
        }
        if absent.is_none() {
            self.missing.push(key);
        }
        absent
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether it has keys that were not taken.
    pub fn has_unknown(&self) -> bool {
        self.entries.keys().any(|key| !self.known.contains(&&**key.get_ref()))
    }

    /// Says which keys there are none of, and which are missing.
    pub fn end(self, problems: &mut Problems) {
        let mut missing = self.missing;
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let unused = self.known.iter().copied().filter(|known| !self.entries.contains_key(*known));
            if let Some(meant) = nearest(name, unused) {
                missing.retain(|missing| *missing != meant);
            }
            let way_out = way_out(name, self.known.iter().copied());
            problems.add(key.span().start, format!("there is no key `{}` here{way_out}", quote(name)));
        }
        if !missing.is_empty() {
            let verb = if missing.len() == 1 { "is" } else { "are" };
            problems.add(self.at, format!("{} {verb} missing here", listed(&missing)));
        }
    }
}

/// Says that a value is not what it must be.
pub fn wrong(node: &Node, must: &str, problems: &mut Problems) {
    let span = node.span();
    let written = quote(problems.text().get(span.clone()).unwrap_or_default());
    let found = match node.get_ref() {
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        _ => written,
    };
    problems.add(span.start, format!("this {must}, not {found}"));
}

/// The text of a value that must be one.
pub fn text<'n>(node: &'n Node, must: &str, problems: &mut Problems) -> Option<&'n str> {
    let text = node.get_ref().as_str();
    if text.is_none() {
        wrong(node, must, problems);
    }
    text
}

/// One of some words.
pub fn word<T: Copy>(node: &Node, words: &[(&'static str, T)], problems: &mut Problems) -> Option<T> {
    let names = words.iter().map(|(name, _)| *name);
    let must = format!("must be {}", one_of(names.clone()));
    let word = text(node, &must, problems)?;
    let found = words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    if found.is_none() {
        let meant = nearest(word, names).map_or(String::new(), |meant| format!("; did you mean \"{meant}\"?"));
        problems.add(node.span().start, format!("this {must}, not \"{}\"{meant}", quote(word)));
    }
    found
}

fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    match &*quoted {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        all => all.concat(),
    }
}

/// Any value, as JSON. Tables keep the order in which they are written.
pub fn json(node: &Node, problems: &mut Problems) -> Option<Json> {
    Some(match node.get_ref() {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Boolean(yes) => Json::Bool(*yes),
        DeValue::Datetime(time) => Json::String(time.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => return refuse(node, "has more than 64 bits", problems),
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => Json::Number(number),
            None => return refuse(node, "is no number that JSON can hold", problems),
        },
        DeValue::Array(items) => {
            let items: Vec<Option<Json>> = items.iter().map(|item| json(item, problems)).collect();
            Json::Array(items.into_iter().collect::<Option<_>>()?)
        }
        DeValue::Table(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            let entries: Vec<Option<(String, Json)>> =
                entries.iter().map(|(key, node)| Some((key.get_ref().to_string(), json(node, problems)?))).collect();
            Json::Object(entries.into_iter().collect::<Option<Map<_, _>>>()?)
        }
    })
}

fn refuse<T>(node: &Node, why: &str, problems: &mut Problems) -> Option<T> {
    let written = quote(problems.text().get(node.span()).unwrap_or_default());
    problems.add(node.span().start, format!("{written} {why}"));
    None
}

/// What a JSON pointer points to, or the innermost that there is on its way.
pub fn within<'n, 'i>(node: &'n Node<'i>, pointer: &str) -> &'n Node<'i> {
    let mut node = node;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let next = match node.get_ref() {
            DeValue::Table(entries) => entries.get(part.as_str()),
            DeValue::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        };
        let Some(next) = next else { break };
        node = next;
    }
    node
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
