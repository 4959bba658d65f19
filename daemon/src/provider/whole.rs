//! The events of one answer, put together again for a caller who wants it at once.

use protocol::{
    ErrorData, FinishReason, GenerateEvent, GenerateResult, ModelId, PassedOver, ProviderId, RequestId, Sample,
    TokenLogprobs, ToolCall,
};

use super::Answer;

use crate::error::internal;

/// What came so far, of each sample.
#[derive(Debug)]
struct Whole(Vec<Parts>);

/// Who answers: what the last `queued` says.
#[derive(Debug)]
struct Head {
    request_id: RequestId,
    trace_id: Option<String>,
    model: ModelId,
    provider: ProviderId,
    passed_over: Vec<PassedOver>,
}

/// All of an answer at once, with so many samples.
pub(super) async fn whole(mut answer: Answer, samples: u32, logprobs: bool) -> Result<GenerateResult, ErrorData> {
    let (mut whole, mut head) = (Whole::new(samples, logprobs), None);
    while let Some(event) = answer.next().await {
        match event {
            GenerateEvent::Queued { request_id, trace_id, model, provider, passed_over, .. } => {
                head = Some(Head { request_id, trace_id, model, provider, passed_over });
            }
            GenerateEvent::Finished { finish_reason, blocked, usage, timings } => {
                let Some(Head { request_id, trace_id, model, provider, passed_over }) = head else { break };
                let (Sample { text, reasoning, tool_calls, logprobs, .. }, others) = whole.samples()?;
                return Ok(GenerateResult {
                    request_id,
                    trace_id,
                    model,
                    provider,
                    passed_over,
                    text,
                    reasoning,
                    tool_calls,
                    logprobs,
                    finish_reason,
                    blocked,
                    others,
                    usage,
                    timings,
                });
            }
            GenerateEvent::Failed { error } => return Err(error),
            event => whole.take(event),
        }
    }
    Err(internal("an answer ended without its first or its last event"))
}

/// What came of one sample.
#[derive(Debug, Clone, Default)]
struct Parts {
    text: String,
    reasoning: String,
    calls: Vec<Call>,
    /// `None` where they are not asked for.
    logprobs: Option<Vec<TokenLogprobs>>,
    /// Told of several samples only.
    finish_reason: Option<FinishReason>,
}

/// A call whose arguments are still text.
#[derive(Debug, Clone)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl Whole {
    /// Nothing yet.
    fn new(samples: u32, logprobs: bool) -> Self {
        Self(vec![Parts { logprobs: logprobs.then(Vec::new), ..Parts::default() }; samples as usize])
    }

    /// Takes the next event; those without a part of the answer change nothing.
    fn take(&mut self, event: GenerateEvent) {
        match event {
            GenerateEvent::Text { sample, text } => self.change(sample, |parts| parts.text.push_str(&text)),
            GenerateEvent::Logprobs { sample, logprobs } => {
                self.change(sample, |parts| parts.logprobs.get_or_insert_default().push(logprobs));
            }
            GenerateEvent::Reasoning { sample, text } => self.change(sample, |parts| parts.reasoning.push_str(&text)),
            GenerateEvent::ToolCall { sample, id, name, .. } => {
                self.change(sample, |parts| parts.calls.push(Call { id, name, arguments: String::new() }));
            }
            GenerateEvent::ToolArguments { sample, index, text } => self.change(sample, |parts| {
                if let Some(call) = parts.calls.get_mut(index as usize) {
                    call.arguments.push_str(&text);
                }
            }),
            GenerateEvent::SampleFinished { sample, finish_reason } => {
                self.change(sample, |parts| parts.finish_reason = Some(finish_reason));
            }
            GenerateEvent::Queued { .. }
            | GenerateEvent::Loading { .. }
            | GenerateEvent::Started { .. }
            | GenerateEvent::Finished { .. }
            | GenerateEvent::Failed { .. } => {}
        }
    }

    fn change(&mut self, sample: u32, change: impl FnOnce(&mut Parts)) {
        if let Some(parts) = self.0.get_mut(sample as usize) {
            change(parts);
        }
    }

    /// The first sample, and the others.
    fn samples(self) -> Result<(Sample, Vec<Sample>), ErrorData> {
        let mut samples = self.0.into_iter().map(Parts::sample);
        let first = samples.next().unwrap_or_else(|| Parts::default().sample())?;
        Ok((first, samples.collect::<Result<_, _>>()?))
    }
}

impl Parts {
    fn sample(self) -> Result<Sample, ErrorData> {
        let whole = |Call { id, name, arguments }: Call| {
            let arguments = serde_json::from_str(&arguments);
            arguments.map(|arguments| ToolCall { id, name, arguments })
        };
        let calls: Result<Vec<ToolCall>, _> = self.calls.into_iter().map(whole).collect();
        Ok(Sample {
            text: self.text,
            reasoning: (!self.reasoning.is_empty()).then_some(self.reasoning),
            tool_calls: calls.map_err(|error| internal(format!("the arguments of a call: {error}")))?,
            logprobs: self.logprobs,
            finish_reason: self.finish_reason.unwrap_or(FinishReason::Stop),
        })
    }
}
