//! An answer taken apart while it comes: what the model reasons, what it says, and which tools it calls.
//!
//! Text in, parts out: no token is known here, and how the text is cut into pieces changes nothing. What looks like a
//! call and is none stays text, unchanged. Called by `stream`, behind the detokenizer, once for each answer.

mod calls;
mod harmony;
mod literal;
mod tagged;
mod xml;

use protocol::tools::Tool;
use serde_json::{Map, Value};

use self::harmony::Harmony;
use self::tagged::Tagged;
use super::dialect::{Dialect, Family, Thinking};

/// What to look for in an answer; by default, nothing.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    thinking: Option<Thinking>,
    /// Whether the prompt has begun the reasoning already.
    is_thinking: bool,
    /// How calls are written; `None` where none are looked for.
    family: Option<Family>,
    tools: Vec<Tool>,
}

/// A part of an answer, in the order of its text.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Said, never empty.
    Text(String),
    /// Reasoned, never empty.
    Reasoning(String),
    /// A whole call.
    Call(Call),
}

/// A tool and what it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// As a tool can be named.
    pub name: String,
    /// By their names.
    pub arguments: Map<String, Value>,
}

/// One answer so far.
#[derive(Debug, Clone)]
pub enum Parser {
    /// All of it is text.
    Plain,
    /// Marks stand around reasoning and calls.
    Tagged(Tagged),
    /// The answer is a row of messages on channels.
    Harmony(Harmony),
}

impl Reading {
    /// For the answer to a prompt with these tools, which has begun the reasoning already or not.
    pub(super) fn new(dialect: Dialect, is_thinking: bool, tools: Vec<Tool>) -> Self {
        let Dialect { thinking, family } = dialect;
        let family = family.filter(|family| !tools.is_empty() || *family == Family::Harmony);
        Self { thinking, is_thinking, family, tools }
    }

    /// What must not be left out of the text that the parser is given, even where it is a special token.
    pub fn marks(&self) -> Vec<&'static str> {
        let thinking = self.thinking.into_iter().flat_map(|Thinking { open, close }| [open, close]);
        let calls = self.family.into_iter().flat_map(|family| {
            let around = family.marks().iter().flat_map(|marks| [Some(marks.open), marks.close]).flatten();
            around.chain(family.inner_marks().iter().copied())
        });
        thinking.chain(calls).collect()
    }
}

impl Parser {
    /// At the start of an answer.
    pub fn new(reading: Reading) -> Self {
        match reading {
            Reading { family: Some(Family::Harmony), tools, .. } => Self::Harmony(Harmony::new(!tools.is_empty())),
            Reading { thinking: None, family: None, .. } => Self::Plain,
            reading => Self::Tagged(Tagged::new(reading)),
        }
    }

    /// The parts that are certain with this piece.
    pub fn push(&mut self, piece: impl Into<String>) -> Vec<Part> {
        let piece = piece.into();
        match self {
            Self::Plain if piece.is_empty() => Vec::new(),
            Self::Plain => vec![Part::Text(piece)],
            Self::Tagged(tagged) => tagged.push(&piece),
            Self::Harmony(harmony) => harmony.push(&piece),
        }
    }

    /// What was held back at the end of the answer.
    pub fn finish(&mut self) -> Vec<Part> {
        match self {
            Self::Plain => Vec::new(),
            Self::Tagged(tagged) => tagged.finish(),
            Self::Harmony(harmony) => harmony.finish(),
        }
    }
}

fn text(text: &str) -> Option<Part> {
    (!text.is_empty()).then(|| Part::Text(text.to_owned()))
}

/// How many bytes at the end of `text` may be the beginning of one of the marks.
fn begun(text: &str, marks: &[&str]) -> usize {
    let marks = marks.iter().copied();
    let longest = marks.clone().map(str::len).max().unwrap_or(0).saturating_sub(1).min(text.len());
    let ends = (text.len() - longest..text.len()).filter(|start| text.is_char_boundary(*start));
    let mut ends = ends.map(|start| &text[start..]);
    ends.find(|end| marks.clone().any(|mark| mark.starts_with(end))).map_or(0, str::len)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
