//! What a value of a file may be.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use protocol::KeepAlive;
use protocol::format::MAX_FORMAT_BYTES;
use schemars::{Schema as JsonSchemaOf, SchemaGenerator, json_schema};
use serde_json::{Map, Value as Json};
use toml::de::DeValue;

use super::action::Given;
use crate::MOST_OUTPUT_BYTES;
use crate::node::{At, FromToml, Node, json, text, within, wrong};
use crate::problem::Problems;
use crate::template::{Expression, Mistake, Template, expression_mistakes, template_mistakes};

/// Most items that are worked on at once.
const MOST_PARALLEL: u32 = 16;

/// What a time must be.
const TIME: &str = "must be seconds, or a time such as \"10s\" or \"5m\", above 0 and up to a year";

/// What a number of bytes must be.
const BYTES: &str = "must be a number of bytes such as 500000 or \"500k\", above 0 and at most 1 MiB";

/// Keys and values.
#[derive(Debug, Clone)]
pub struct Mapping<T>(pub BTreeMap<String, T>);

/// A time above 0: seconds, or as "10s", "5m", "2h", up to a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A number of bytes: 500000, or "500k", "1M".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// How many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallel(pub u32);

/// A JSON Schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema(pub Map<String, Json>);

impl<T> Default for Mapping<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Deref for Mapping<T> {
    type Target = BTreeMap<String, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T: FromToml> FromToml for Option<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        T::read(node, problems).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn schema(generator: &mut SchemaGenerator) -> JsonSchemaOf {
        T::schema(generator)
    }
}

impl<T: FromToml> FromToml for Vec<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let DeValue::Array(items) = node.get_ref() else {
            wrong(node, "must be a list", problems);
            return None;
        };
        Some(items.iter().filter_map(|item| T::read(item, problems)).collect())
    }

    fn schema(generator: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "array", "items": T::schema(generator) })
    }
}

impl<T: FromToml> FromToml for Mapping<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let DeValue::Table(entries) = node.get_ref() else {
            wrong(node, "must be a table", problems);
            return None;
        };
        let each = entries.iter().filter_map(|(key, node)| Some((key.get_ref().to_string(), T::read(node, problems)?)));
        Some(Self(each.collect()))
    }

    fn schema(generator: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "object", "additionalProperties": T::schema(generator) })
    }
}

impl<T: FromToml> FromToml for At<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        T::read(node, problems).map(|value| Self { value, at: node.span().start })
    }

    fn schema(generator: &mut SchemaGenerator) -> JsonSchemaOf {
        T::schema(generator)
    }
}

impl FromToml for String {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        text(node, "must be a text", problems).map(str::to_owned)
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "string" })
    }
}

impl FromToml for bool {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let DeValue::Boolean(yes) = node.get_ref() else {
            wrong(node, "must be true or false", problems);
            return None;
        };
        Some(*yes)
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "boolean" })
    }
}

impl FromToml for Json {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        json(node, problems)
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({})
    }
}

impl FromToml for u32 {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        whole(node, 0, Self::MAX, problems)
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "integer", "minimum": 0 })
    }
}

impl FromToml for Parallel {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        whole(node, 1, MOST_PARALLEL, problems).map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST_PARALLEL })
    }
}

impl FromToml for Time {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let time = match written(node).parse() {
            Ok(KeepAlive::For(time)) if !time.is_zero() => Some(Self(time)),
            _ => None,
        };
        if time.is_none() {
            wrong(node, TIME, problems);
        }
        time
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "oneOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^[0-9]+[smh]?$" },
        ] })
    }
}

impl FromToml for Bytes {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let most = MOST_OUTPUT_BYTES as u64;
        let bytes = bytes(&written(node)).filter(|bytes| (1..=most).contains(bytes));
        if bytes.is_none() {
            wrong(node, BYTES, problems);
        }
        bytes.map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "oneOf": [
            { "type": "integer", "minimum": 1, "maximum": MOST_OUTPUT_BYTES },
            { "type": "string", "pattern": "^[0-9]+[kKM]?$" },
        ] })
    }
}

impl FromToml for Schema {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Json::Object(schema) = json(node, problems)? else {
            wrong(node, "must be a table: a JSON Schema", problems);
            return None;
        };
        let whole = Json::Object(schema.clone());
        let bytes = whole.to_string().len();
        if bytes > MAX_FORMAT_BYTES {
            problems
                .add(node.span().start, format!("the schema has {bytes} bytes, but {MAX_FORMAT_BYTES} are the most"));
        } else if let Err(error) = jsonschema::meta::validate(&whole) {
            let at = within(node, error.instance_path().as_str()).span().start;
            problems.add(at, format!("this is no JSON Schema: {error}"));
        } else if let Err(error) = jsonschema::validator_for(&whole) {
            problems.add(node.span().start, format!("this JSON Schema cannot be used: {error}"));
        }
        Some(Self(schema))
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "object" })
    }
}

impl FromToml for Template {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let source = text(node, "must be a text", problems)?;
        tell(node, source, template_mistakes(source), problems);
        Some(Self::unchecked(source.to_owned(), node.span().start))
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "string" })
    }
}

impl FromToml for Expression {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let source = text(node, "must be a text: an expression", problems)?;
        tell(node, source, expression_mistakes(source), problems);
        Some(Self::unchecked(source.to_owned(), node.span().start))
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "string" })
    }
}

impl FromToml for Given {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(_) => Template::read(node, problems).map(Self::Template),
            _ => json(node, problems).map(Self::Value),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({})
    }
}

/// A whole number in a range.
pub fn whole(node: &Node, least: u32, most: u32, problems: &mut Problems) -> Option<u32> {
    let number = match node.get_ref() {
        DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    };
    let number = number.filter(|number| (least..=most).contains(number));
    if number.is_none() {
        let words = match (least, most) {
            (0, u32::MAX) => "must be a whole number".to_owned(),
            (_, u32::MAX) => format!("must be a whole number of at least {least}"),
            _ => format!("must be a whole number from {least} to {most}"),
        };
        wrong(node, &words, problems);
    }
    number
}

/// A number or a text, as a text.
fn written(node: &Node) -> String {
    match node.get_ref() {
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            number.map_or(String::new(), |number| number.to_string())
        }
        DeValue::String(text) => text.to_string(),
        _ => String::new(),
    }
}

/// A number of bytes, in thousands or millions where a letter says so.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 1000),
        (at, 'M') => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Puts the mistakes of a template where they stand in the file, if it is written there as it is read.
fn tell(node: &Node, source: &str, mistakes: Vec<Mistake>, problems: &mut Problems) {
    let span = node.span();
    let verbatim = problems.text().get(span.clone()).and_then(|written| written.find(source));
    for mistake in mistakes {
        let at = verbatim.zip(mistake.at).map_or(0, |(start, at)| start + at);
        problems.add(span.start + at, mistake.message);
    }
}
