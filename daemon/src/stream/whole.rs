//! The events of one answer, put together again for a caller who wants it at once.

use protocol::{ErrorData, GenerateEvent, TokenLogprobs, ToolCall};

use crate::error::internal;

/// What came so far.
#[derive(Debug)]
pub(super) struct Whole {
    text: String,
    reasoning: String,
    calls: Vec<Call>,
    /// `None` where they are not asked for.
    logprobs: Option<Vec<TokenLogprobs>>,
}

/// Text, reasoning where there was any, calls, and log-probabilities where they were asked for.
type Parts = (String, Option<String>, Vec<ToolCall>, Option<Vec<TokenLogprobs>>);

/// A call whose arguments are still text.
#[derive(Debug)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl Whole {
    /// Nothing yet.
    pub(super) fn new(logprobs: bool) -> Self {
        let (text, reasoning, calls) = (String::new(), String::new(), Vec::new());
        Self { text, reasoning, calls, logprobs: logprobs.then(Vec::new) }
    }

    /// Takes the next event; those without a part of the answer change nothing.
    pub(super) fn take(&mut self, event: GenerateEvent) {
        match event {
            GenerateEvent::Text { text } => self.text.push_str(&text),
            GenerateEvent::Logprobs(of_token) => self.logprobs.get_or_insert_default().push(of_token),
            GenerateEvent::Reasoning { text } => self.reasoning.push_str(&text),
            GenerateEvent::ToolCall { id, name, .. } => self.calls.push(Call { id, name, arguments: String::new() }),
            GenerateEvent::ToolArguments { index, text } => {
                if let Some(call) = self.calls.get_mut(index as usize) {
                    call.arguments.push_str(&text);
                }
            }
            GenerateEvent::Queued { .. }
            | GenerateEvent::Loading { .. }
            | GenerateEvent::Started { .. }
            | GenerateEvent::Finished { .. }
            | GenerateEvent::Failed { .. } => {}
        }
    }

    /// All of it.
    pub(super) fn parts(self) -> Result<Parts, ErrorData> {
        let whole = |Call { id, name, arguments }: Call| {
            let arguments = serde_json::from_str(&arguments);
            arguments.map(|arguments| ToolCall { id, name, arguments })
        };
        let calls: Result<Vec<ToolCall>, _> = self.calls.into_iter().map(whole).collect();
        let calls = calls.map_err(|error| internal(format!("the arguments of a call: {error}")))?;
        Ok((self.text, (!self.reasoning.is_empty()).then_some(self.reasoning), calls, self.logprobs))
    }
}
