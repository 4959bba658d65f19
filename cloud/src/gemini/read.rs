//! Chunks of Gemini's answer become pieces of an answer.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::Usage;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Signatures;
use crate::arguments::Arguments;
use crate::http::said;
use crate::{Error, Piece, Reason};

/// What the chunks so far leave to be said.
#[derive(Debug)]
pub(crate) struct Reader {
    signatures: Arc<Signatures>,
    arguments: Arguments,
    reason: Option<Reason>,
    usage: Usage,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    #[serde(default)]
    candidates: Vec<Candidate>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Counts>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    thought_signature: Option<String>,
    function_call: Option<Call>,
}

#[derive(Debug, Deserialize)]
struct Call {
    id: Option<String>,
    name: String,
    #[serde(default)]
    args: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    #[serde(rename = "promptTokenCount")]
    prompt: u32,
    #[serde(rename = "cachedContentTokenCount")]
    cached: u32,
    #[serde(rename = "candidatesTokenCount")]
    answer: u32,
    /// Of what it reasoned, which is paid like the answer.
    #[serde(rename = "thoughtsTokenCount")]
    thoughts: u32,
}

impl Reader {
    /// Nothing yet; signatures of calls go there.
    pub(super) fn new(signatures: Arc<Signatures>) -> Self {
        Self { signatures, arguments: Arguments::default(), reason: None, usage: Usage::default() }
    }

    /// Takes an event, or the end of the body; true when the answer is complete.
    pub(crate) fn take(&mut self, event: Option<&[u8]>, due: &mut VecDeque<Piece>) -> Result<bool, Error> {
        let Some(event) = event else {
            self.finish(due)?;
            return Ok(true);
        };
        let malformed =
            |error: serde_json::Error| Error::Malformed(format!("an event is no part of an answer ({error})"));
        let value: Value = serde_json::from_slice(event).map_err(malformed)?;
        if !value["error"].is_null() {
            return Err(Error::Failed(said(&value).unwrap_or_else(|| "without a reason".into())));
        }
        let chunk = Chunk::deserialize(value).map_err(malformed)?;
        if let Some(Counts { prompt, answer, thoughts, cached }) = chunk.usage_metadata {
            let completion_tokens = answer.saturating_add(thoughts);
            self.usage = Usage { prompt_tokens: prompt, completion_tokens, cached_tokens: cached, ..Usage::default() };
        }
        if let Some(reason) = chunk.prompt_feedback.and_then(|feedback| feedback.block_reason) {
            self.reason = Some(Reason::Blocked(format!("the prompt: {reason}")));
        }
        // Only one is asked for.
        if let Some(candidate) = chunk.candidates.into_iter().next() {
            self.candidate(candidate, due)?;
        }
        Ok(false)
    }

    fn candidate(&mut self, candidate: Candidate, due: &mut VecDeque<Piece>) -> Result<(), Error> {
        for part in candidate.content.into_iter().flat_map(|content| content.parts) {
            let text = part.text.filter(|text| !text.is_empty());
            due.extend(text.map(|text| if part.thought { Piece::Reasoning(text) } else { Piece::Text(text) }));
            if let Some(Call { id, name, args }) = part.function_call {
                let index = self.arguments.begin()?;
                let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{index}"));
                if let Some(signature) = part.thought_signature {
                    self.signatures.keep(&id, signature);
                }
                let text = Value::Object(args).to_string();
                self.arguments.add(index, &text);
                due.push_back(Piece::ToolCall { index, id, name });
                due.push_back(Piece::ToolArguments { index, text });
            }
        }
        if let Some(reason) = candidate.finish_reason {
            self.reason = Some(self.meaning(&reason, candidate.finish_message)?);
        }
        Ok(())
    }

    /// What a finish reason means; an unknown one withholds, as all of the newer ones do.
    fn meaning(&self, reason: &str, message: Option<String>) -> Result<Reason, Error> {
        Ok(match reason {
            "STOP" | "FINISH_REASON_UNSPECIFIED" if self.arguments.calls() > 0 => Reason::ToolCalls,
            "STOP" | "FINISH_REASON_UNSPECIFIED" => Reason::Stop,
            "MAX_TOKENS" => Reason::Length,
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE" => {
                let words = message.map_or_else(String::new, |message| format!(": {message}"));
                return Err(Error::Failed(format!("{reason}{words}")));
            }
            reason => Reason::Blocked(reason.to_owned()),
        })
    }

    fn finish(&mut self, due: &mut VecDeque<Piece>) -> Result<(), Error> {
        let Some(reason) = self.reason.take() else {
            return Err(Error::Interrupted("the connection ended before the answer did".into()));
        };
        due.extend(self.arguments.finish(&reason)?);
        due.push_back(Piece::Finished { reason, usage: self.usage });
        Ok(())
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
