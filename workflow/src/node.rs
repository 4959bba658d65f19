//! How a text becomes types: every value is read by itself, so that all that is wrong is found at once, each at its place.
//!
//! [`table`] and [`words`] make a type, its reading and its JSON Schema of one declaration, so that they cannot differ.

use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value as Json, json};
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
        match self.entries.get(key) {
            Some(node) => T::read(node, problems).or(absent),
            None => {
                if absent.is_none() {
                    self.missing.push(key);
                }
                absent
            }
        }
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

/// What a table's schema says of one key.
pub struct Key {
    pub name: &'static str,
    pub description: String,
    pub schema: Schema,
    pub required: bool,
}

impl Key {
    pub fn of<T: FromToml>(
        name: &'static str,
        docs: &[&str],
        has_default: bool,
        generator: &mut SchemaGenerator,
    ) -> Self {
        let required = T::absent().is_none() && !has_default;
        Self { name, description: described(docs), schema: T::schema(generator), required }
    }
}

/// The lines of a doc comment.
pub fn described(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// The schema of a table with these keys and no others.
pub fn table_schema(docs: &[&str], keys: Vec<Key>) -> Schema {
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema =
        json!({ "type": "object", "description": described(docs), "properties": {}, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    for key in keys {
        let mut of_key = key.schema;
        if of_key.get("$ref").is_some() {
            // In the drafts that editors know, nothing may stand beside a reference.
            of_key = json_schema!({ "allOf": [of_key] });
        }
        of_key.insert("description".into(), key.description.into());
        schema["properties"][key.name] = of_key.into();
    }
    schema.try_into().expect("an object is a schema")
}

/// Makes a table's type, its reading and its schema. `as "key"` names the key where it is not the field, `= value` is what
/// stands for it where it is absent.
macro_rules! table {
    ($(#[doc = $doc:literal])+ pub struct $name:ident { $(
        $(#[doc = $field_doc:literal])+ pub $field:ident: $kind:ty $(as $key:literal)? $(= $default:expr)?,
    )+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $kind,)+ }

        impl $name {
            /// Reads the keys of a table that may have others besides.
            pub(crate) fn take(table: &mut crate::node::Table, problems: &mut crate::problem::Problems) -> Option<Self> {
                $(
                    let key = crate::node::key!($field $(as $key)?);
                    let $field = crate::node::take!(table, key, problems $(, $default)?);
                )+
                Some(Self { $($field: $field?,)+ })
            }

            pub(crate) fn keys(generator: &mut schemars::SchemaGenerator) -> Vec<crate::node::Key> {
                vec![$(crate::node::Key::of::<$kind>(
                    crate::node::key!($field $(as $key)?),
                    &[$($field_doc),+],
                    crate::node::is_given!($($default)?),
                    generator,
                )),+]
            }
        }

        impl crate::node::FromToml for $name {
            fn read(node: &crate::node::Node, problems: &mut crate::problem::Problems) -> Option<Self> {
                let mut table = crate::node::Table::of(node, problems)?;
                let read = Self::take(&mut table, problems);
                table.end(problems);
                read
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::node::table_schema(&[$($doc),+], Self::keys(generator))
            }
        }
    };
}

macro_rules! key {
    ($field:ident as $key:literal) => {
        $key
    };
    ($field:ident) => {
        stringify!($field)
    };
}

macro_rules! take {
    ($table:expr, $key:expr, $problems:expr) => {
        $table.take($key, $problems)
    };
    ($table:expr, $key:expr, $problems:expr, $default:expr) => {
        $table.take_or($key, Some($default), $problems)
    };
}

macro_rules! is_given {
    () => {
        false
    };
    ($default:expr) => {
        true
    };
}

/// Makes a type of some words, its reading and its schema. The first word stands where there is none, if `Default` is
/// derived.
macro_rules! words {
    ($(#[doc = $doc:literal])+ pub enum $name:ident { $(
        $(#[doc = $word_doc:literal])+ $variant:ident = $word:literal,
    )+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $word_doc])+ $variant,)+ }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As a file says it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl crate::node::FromToml for $name {
            fn read(node: &crate::node::Node, problems: &mut crate::problem::Problems) -> Option<Self> {
                crate::node::word(node, &[$(($word, Self::$variant)),+], problems)
            }

            fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::node::words_schema(&[$(($word, &[$($word_doc),+])),+])
            }
        }
    };
}

pub fn words_schema(words: &[(&str, &[&str])]) -> Schema {
    let each = words.iter().map(|(word, docs)| json!({ "const": word, "description": described(docs) }));
    json_schema!({ "oneOf": each.collect::<Vec<_>>() })
}

/// What editors are told of a type of the wire.
pub fn wire_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

pub(crate) use {is_given, key, table, take, words};

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
