//! What output control costs: talkied's decoding held to a JSON schema, against the same prompt answered freely.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use serde_json::{Value, json};

use super::Extent;
use super::contest::Candidate;
use super::figures::Samples;
use super::pairs::{self, Side};
use super::prompt;
use super::talkied::Talkied;
use crate::error::Result;
use crate::interrupt::Interrupt;

/// The least that decoding may keep of its speed: output control makes it at most 5 % slower.
pub const LIMIT: f64 = 0.95;

/// Tokens of every answer; one that ends earlier is no figure.
const TOKENS: u32 = 64;

/// Figures of answers with and without a schema, pair by pair.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Held {
    /// Tokens of each answer, as the daemon counted them.
    pub tokens: u32,
    /// With the schema: tokens after the first, per second. The schema was compiled before the first.
    pub schema_tokens_per_s: Samples,
    /// Without one.
    pub free_tokens_per_s: Samples,
    /// The first by the second, within each pair.
    pub schema_over_free: Samples,
}

/// Takes turns on a model that is loaded.
pub fn measure(talkied: &mut Talkied, extent: Extent, interrupt: &Interrupt) -> Result<Held> {
    let count = if extent == Extent::Quick { 3 } else { 9 };
    let format = response_format();
    let mut tokens = 0;
    let [held, free] = pairs::measure(count, interrupt, |side, round| {
        let format = (side == Side::First).then_some(&format);
        let answer = talkied.answer(&prompt::short(round), TOKENS, format)?.of_length(TOKENS, &talkied.name())?;
        tokens = answer.tokens;
        Ok(answer.decode_tokens_per_s)
    })?;
    let schema_over_free = held.over(&free);
    Ok(Held { tokens, schema_tokens_per_s: held, free_tokens_per_s: free, schema_over_free })
}

/// What an app would ask of a story; its least lengths take more than [`TOKENS`] tokens.
fn response_format() -> Value {
    let text = |least: u32| json!({ "type": "string", "minLength": least, "maxLength": 400 });
    let chapter = json!({
        "type": "object",
        "properties": {
            "title": text(10),
            "mood": { "enum": ["calm", "stormy", "lonely", "hopeful"] },
            "page": { "type": "integer", "minimum": 1, "maximum": 999 },
            "summary": text(80),
        },
        "required": ["title", "mood", "page", "summary"],
        "additionalProperties": false,
    });
    json!({ "type": "json_schema", "schema": { "type": "array", "items": chapter, "minItems": 8, "maxItems": 20 } })
}

/// One line: both speeds, and the ratio beside its limit.
impl Display for Held {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { tokens, schema_tokens_per_s, free_tokens_per_s, schema_over_free } = self;
        write!(f, "{schema_tokens_per_s} tokens/s, free {free_tokens_per_s}; × {schema_over_free}, ")?;
        write!(f, "limit {LIMIT}; {} pairs of {tokens} tokens", schema_over_free.count())
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
