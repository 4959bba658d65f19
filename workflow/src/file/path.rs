//! What finds a part of a value: JSON pointers and regular expressions.

use schemars::{Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use crate::node::{FromToml, Node, text, wrong};
use crate::problem::{Problems, quote};

/// Most bytes that a compiled regular expression takes.
const MOST_REGEX_BYTES: usize = 1 << 20;

/// A JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(pub String);

/// A regular expression.
#[derive(Debug, Clone)]
pub struct Regex(pub regex::Regex);

/// A group of a regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// By its number; 0 is all of the match.
    Number(usize),
    /// By its name.
    Name(String),
}

impl FromToml for Pointer {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let pointer = text(node, "must be a text such as \"/tasks/0\"", problems)?;
        let is_escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if !(pointer.is_empty() || pointer.starts_with('/')) {
            let words = format!("a JSON pointer begins with a slash: \"/{}\"", quote(pointer));
            problems.add(node.span().start, words);
        } else if !is_escaped {
            problems.add(node.span().start, "in a JSON pointer ~0 stands for ~ and ~1 for a slash; ~ alone is nothing");
        }
        Some(Self(pointer.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(/([^~]|~[01])*)?$" })
    }
}

impl FromToml for Regex {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let pattern = text(node, "must be a text: a regular expression", problems)?;
        let regex = regex::RegexBuilder::new(pattern).size_limit(MOST_REGEX_BYTES).build();
        let tell = |error: regex::Error| {
            let words = match error {
                regex::Error::CompiledTooBig(_) => "it is too big".to_owned(),
                // The last of several lines says what is wrong.
                error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
            };
            problems.add(node.span().start, format!("this regular expression is none: {words}"));
        };
        regex.map(Self).map_err(tell).ok()
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl FromToml for Group {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(name) => Some(Self::Name(name.to_string())),
            DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix()).ok().map(Self::Number),
            _ => None,
        }
        .or_else(|| {
            wrong(node, "must be the number or the name of a group", problems);
            None
        })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }] })
    }
}

impl Group {
    /// Whether the regular expression has it.
    pub fn is_in(&self, regex: &regex::Regex) -> bool {
        match self {
            Self::Number(number) => *number < regex.captures_len(),
            Self::Name(name) => regex.capture_names().flatten().any(|known| known == name),
        }
    }
}
