//! What the text of an answer must match.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most bytes of a schema, a pattern or a grammar.
pub const MAX_FORMAT_BYTES: usize = 64 << 10;

/// What the text of an answer must match. The model can say nothing else; an answer cut by `max_tokens` is the beginning
/// of something that matches.
// Variants without fields are written as structs: serde would let unit variants have unknown fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ResponseFormat {
    /// Anything.
    Text {},
    /// A JSON object.
    JsonObject {},
    /// JSON that a schema allows.
    JsonSchema {
        /// An object of JSON Schema, at most 65536 bytes.
        schema: Map<String, Value>,
    },
    /// A text that a regular expression matches as a whole.
    Regex {
        /// In the syntax of Rust's `regex`, without look-around, at most 65536 bytes.
        pattern: String,
    },
    /// A text that a grammar derives from `start`.
    Lark {
        /// In llguidance's dialect of Lark, at most 65536 bytes.
        grammar: String,
    },
}

impl ResponseFormat {
    /// Why it is refused before it is read, in words.
    pub fn problem(&self) -> Option<String> {
        let (field, bytes) = match self {
            Self::Text {} | Self::JsonObject {} => return None,
            Self::JsonSchema { schema } => ("schema", serde_json::to_string(schema).map_or(0, |text| text.len())),
            Self::Regex { pattern } => ("pattern", pattern.len()),
            Self::Lark { grammar } => ("grammar", grammar.len()),
        };
        (bytes > MAX_FORMAT_BYTES)
            .then(|| format!("response_format.{field} has {bytes} bytes, but {MAX_FORMAT_BYTES} are the most"))
    }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
