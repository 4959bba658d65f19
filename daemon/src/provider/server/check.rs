//! Whether a server's answer is what `response_format` asks for: some take the option and do not heed it.

use protocol::{ErrorData, Kind, ProviderId, ResponseFormat};
use serde_json::Value;

/// Collects an answer that must match a format.
#[derive(Debug)]
pub(super) struct Check {
    schema: Option<Value>,
    text: String,
}

impl Check {
    /// `None` where anything is right.
    pub(super) fn of(format: Option<&ResponseFormat>) -> Option<Self> {
        let schema = match format? {
            ResponseFormat::JsonObject {} => None,
            ResponseFormat::JsonSchema { schema } => Some(Value::Object(schema.clone())),
            // Others are refused before they are sent.
            ResponseFormat::Text {} | ResponseFormat::Regex { .. } | ResponseFormat::Lark { .. } => return None,
        };
        Some(Self { schema, text: String::new() })
    }

    /// The next piece of the answer.
    pub(super) fn take(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// What is wrong with the whole of it. It is not quoted: answers are in no error.
    pub(super) fn finish(&self, provider: &ProviderId) -> Result<(), ErrorData> {
        let refuse = |why: String| {
            let words = format!(
                "{provider} did not heed response_format: its answer {why}; ask a local model, which is held to it"
            );
            Err(ErrorData::new(Kind::GenerationFailed, words))
        };
        let answer: Value = match serde_json::from_str(&self.text) {
            Ok(answer) => answer,
            Err(error) => return refuse(format!("is no JSON ({error})")),
        };
        match &self.schema {
            None if answer.is_object() => Ok(()),
            None => refuse("is no JSON object".into()),
            Some(schema) => match jsonschema::validate(schema, &answer) {
                Ok(()) => Ok(()),
                Err(error) => {
                    refuse(format!("is not what the schema allows: {}: {}", error.instance_path(), error.masked()))
                }
            },
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
