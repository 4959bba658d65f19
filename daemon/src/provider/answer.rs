//! One answer on its way, from whoever is asked: the next is asked where one fails before its first token, if the caller
//! allows it.

use std::collections::VecDeque;
use std::sync::Arc;

use engine::SequenceId;
use futures_util::StreamExt;
use protocol::{ErrorData, GenerateEvent, Kind, ModelId, PassedOver, Usage as Tokens};

use super::resolve::{Candidate, Plan};
use super::{Provider, Stream};
use crate::error::internal;
use crate::generation::Asked;
use crate::usage::{Usage, Used};

/// One answer on its way to a client. Dropping it cancels it.
pub struct Answer {
    sequence: SequenceId,
    /// For those who may be asked next; nobody is, where it is `None`.
    asked: Option<Asked>,
    current: Stream,
    /// Who answers now, for the note on why not, should it fail.
    provider: Arc<dyn Provider>,
    /// Who is asked next.
    rest: VecDeque<(Arc<dyn Provider>, Candidate)>,
    passed_over: Vec<PassedOver>,
    /// Whether a part of the answer is told: nobody else can go on with it then.
    has_begun: bool,
    /// Where its tokens are counted, for which app.
    counted: Option<(Usage, Used)>,
}

impl Answer {
    /// Asks the first of a plan, or the next that takes the request.
    pub(super) async fn start(
        sequence: SequenceId,
        asked: Asked,
        plan: Plan,
        provider: impl Fn(&Candidate) -> Option<Arc<dyn Provider>>,
    ) -> Result<Self, ErrorData> {
        let candidates = plan.candidates.into_iter();
        let mut rest: VecDeque<_> =
            candidates.filter_map(|candidate| provider(&candidate).map(|provider| (provider, candidate))).collect();
        let (mut passed_over, mut asked) = (plan.passed_over, Some(asked));
        let (provider, current) = next(sequence, &mut asked, &mut rest, &mut passed_over).await?;
        Ok(Self { sequence, asked, current, provider, rest, passed_over, has_begun: false, counted: None })
    }

    /// With its tokens counted for an app.
    pub(super) fn counted(self, usage: Usage, app: String) -> Self {
        let (provider, model) = (self.provider.id(), ModelId(String::new()));
        let used = Used { provider, model, app, prompt_tokens: 0, completion_tokens: 0 };
        Self { counted: Some((usage, used)), ..self }
    }

    /// The next event; `None` after the last. Dropping the future loses nothing, unless the next provider is being asked:
    /// then the answer must be dropped too.
    pub async fn next(&mut self) -> Option<GenerateEvent> {
        loop {
            let mut event = self.current.next().await?;
            match &mut event {
                GenerateEvent::Queued { model, provider, passed_over, .. } => {
                    passed_over.clone_from(&self.passed_over);
                    if let Some((_, used)) = &mut self.counted {
                        (used.provider, used.model) = (provider.clone(), model.clone());
                    }
                }
                GenerateEvent::Failed { error } if !self.has_begun && self.asked.is_some() && may_pass(error) => {
                    self.passed_over.push(PassedOver { provider: self.provider.id(), error: error.clone() });
                    match next(self.sequence, &mut self.asked, &mut self.rest, &mut self.passed_over).await {
                        Ok((provider, current)) => (self.provider, self.current) = (provider, current),
                        Err(error) => return Some(GenerateEvent::Failed { error }),
                    }
                    continue;
                }
                GenerateEvent::Finished { usage, .. } => {
                    let usage = *usage;
                    self.count(usage);
                }
                _ => {}
            }
            self.has_begun |= is_part(&event);
            return Some(event);
        }
    }

    fn count(&mut self, tokens: Tokens) {
        let Tokens { prompt_tokens, completion_tokens, .. } = tokens;
        if let Some((usage, used)) = self.counted.take() {
            usage.count(Used { prompt_tokens, completion_tokens, ..used });
        }
    }
}

/// Asks one after the other until one takes the request, which is kept as long as there are others to ask.
async fn next(
    sequence: SequenceId,
    asked: &mut Option<Asked>,
    rest: &mut VecDeque<(Arc<dyn Provider>, Candidate)>,
    passed_over: &mut Vec<PassedOver>,
) -> Result<(Arc<dyn Provider>, Stream), ErrorData> {
    while let Some((provider, candidate)) = rest.pop_front() {
        let request = if rest.is_empty() { asked.take() } else { asked.clone() };
        let Some(request) = request else { break };
        match provider.start(sequence, request, candidate.model).await {
            Ok(stream) => return Ok((provider, stream)),
            Err(error) if rest.is_empty() || !may_pass(&error) => return Err(last(error, passed_over)),
            Err(error) => passed_over.push(PassedOver { provider: provider.id(), error }),
        }
    }
    Err(internal("nobody was asked"))
}

/// The last error, with what the others said.
fn last(mut error: ErrorData, passed_over: &[PassedOver]) -> ErrorData {
    for PassedOver { provider, error: earlier } in passed_over {
        error.message = format!("{}; {provider} before: {}", error.message, earlier.message);
    }
    error
}

/// Whether another provider may answer where one failed so: not what is wrong for all, and not what was meant to end.
fn may_pass(error: &ErrorData) -> bool {
    !matches!(error.kind, Kind::InvalidParams | Kind::Cancelled | Kind::ShuttingDown | Kind::SlowConsumer)
}

/// Whether an event is a part of the answer itself.
fn is_part(event: &GenerateEvent) -> bool {
    match event {
        GenerateEvent::Queued { .. }
        | GenerateEvent::Loading { .. }
        | GenerateEvent::Started { .. }
        | GenerateEvent::Failed { .. } => false,
        GenerateEvent::Text { .. }
        | GenerateEvent::Logprobs { .. }
        | GenerateEvent::Reasoning { .. }
        | GenerateEvent::ToolCall { .. }
        | GenerateEvent::ToolArguments { .. }
        | GenerateEvent::SampleFinished { .. }
        | GenerateEvent::Finished { .. } => true,
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
