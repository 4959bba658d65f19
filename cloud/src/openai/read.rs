//! Chunks of a completion become pieces of an answer.

use std::collections::VecDeque;

use protocol::Usage;
use serde::Deserialize;

use crate::arguments::Arguments;
use crate::http::said;
use crate::{Error, Piece, Reason};

/// What the chunks so far leave to be said.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    arguments: Arguments,
    /// The server's numbers of its calls, in the order in which they came.
    calls: Vec<u64>,
    reason: Option<Reason>,
    refusal: String,
    /// As the server counts; `None` as long as it does not tell.
    usage: Option<Usage>,
    /// Pieces of text so far: what the answer's tokens are taken for where the server counts none.
    pieces: u32,
}

#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Counts>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    content: Option<String>,
    /// Of vLLM, `SGLang`, llama.cpp and `DeepSeek`.
    reasoning_content: Option<String>,
    /// Of mlx-lm, newer vLLM and `OpenRouter`.
    reasoning: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Debug, Deserialize)]
struct Call {
    #[serde(default)]
    index: Option<u64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Counts {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    prompt_tokens_details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    cached_tokens: Option<u32>,
}

impl Reader {
    /// Takes an event, or the end of the body; true when the answer is complete.
    pub(crate) fn take(&mut self, event: Option<&[u8]>, due: &mut VecDeque<Piece>) -> Result<bool, Error> {
        let Some(event) = event.filter(|event| *event != b"[DONE]") else {
            self.finish(due)?;
            return Ok(true);
        };
        let malformed =
            |error: serde_json::Error| Error::Malformed(format!("an event is no chunk of an answer ({error})"));
        let value: serde_json::Value = serde_json::from_slice(event).map_err(malformed)?;
        if !value["error"].is_null() {
            return Err(Error::Failed(said(&value).unwrap_or_else(|| "without a reason".into())));
        }
        let Chunk { choices, usage } = Chunk::deserialize(value).map_err(malformed)?;
        if let Some(Counts { prompt_tokens, completion_tokens, prompt_tokens_details: details }) = usage {
            let cached_tokens = details.and_then(|details| details.cached_tokens).unwrap_or_default();
            self.usage = Some(Usage { prompt_tokens, completion_tokens, cached_tokens, ..Usage::default() });
        }
        for Choice { delta, finish_reason, .. } in choices.into_iter().filter(|choice| choice.index == 0) {
            if let Some(delta) = delta {
                self.delta(delta, due)?;
            }
            if let Some(reason) = finish_reason.filter(|reason| !reason.is_empty()) {
                self.reason = Some(self.meaning(&reason));
            }
        }
        Ok(false)
    }

    fn delta(&mut self, delta: Delta, due: &mut VecDeque<Piece>) -> Result<(), Error> {
        let is_some = |text: &String| !text.is_empty();
        let before = due.len();
        if let Some(text) = delta.reasoning_content.or(delta.reasoning).filter(is_some) {
            due.push_back(Piece::Reasoning(text));
        }
        if let Some(text) = delta.content.filter(is_some) {
            due.push_back(Piece::Text(text));
        }
        if let Some(refusal) = delta.refusal {
            self.refusal.push_str(&refusal);
        }
        for call in delta.tool_calls.into_iter().flatten() {
            self.call(call, due)?;
        }
        self.pieces += (due.len() - before) as u32;
        Ok(())
    }

    fn call(&mut self, call: Call, due: &mut VecDeque<Piece>) -> Result<(), Error> {
        let Function { name, arguments } = call.function.unwrap_or(Function { name: None, arguments: None });
        let known = match call.index {
            Some(index) => self.calls.iter().position(|known| *known == index),
            // Servers that number nothing send each call whole, or go on with the last.
            None if name.is_some() => None,
            None => self.calls.len().checked_sub(1),
        };
        let index = match (known, name) {
            (Some(known), _) => known as u32,
            (None, Some(name)) => {
                let index = self.arguments.begin()?;
                self.calls.push(call.index.unwrap_or(u64::MAX - u64::from(index)));
                let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{index}"));
                due.push_back(Piece::ToolCall { index, id, name });
                index
            }
            (None, None) => return Err(Error::Malformed("a call of a tool without its name".into())),
        };
        if let Some(text) = arguments.filter(|text| !text.is_empty()) {
            self.arguments.add(index, &text);
            due.push_back(Piece::ToolArguments { index, text });
        }
        Ok(())
    }

    fn meaning(&self, reason: &str) -> Reason {
        match reason {
            "length" => Reason::Length,
            "content_filter" => Reason::Blocked("content_filter".into()),
            "tool_calls" | "function_call" => Reason::ToolCalls,
            _ if self.arguments.calls() > 0 => Reason::ToolCalls,
            _ => Reason::Stop,
        }
    }

    fn finish(&mut self, due: &mut VecDeque<Piece>) -> Result<(), Error> {
        let Some(reason) = self.reason.take() else {
            return Err(Error::Interrupted("the connection ended before the answer did".into()));
        };
        let is_refused = !self.refusal.is_empty();
        let reason = if is_refused { Reason::Blocked(std::mem::take(&mut self.refusal)) } else { reason };
        due.extend(self.arguments.finish(&reason)?);
        let counted = Usage { completion_tokens: self.pieces, ..Usage::default() };
        due.push_back(Piece::Finished { reason, usage: self.usage.unwrap_or(counted) });
        Ok(())
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
