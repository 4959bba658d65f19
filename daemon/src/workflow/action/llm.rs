//! Steps that ask a model: by the ordinary queue, as one app for all workflows together, so that they never crowd out others.

use std::time::Duration;

use protocol::error::Fault;
use protocol::{ErrorData, FinishReason, GenerateRequest, GenerateResult, Kind};
use serde_json::Value;

use super::Failure;
use crate::app::{App, Source};
use crate::provider::Registry;
use crate::usage::{LONGEST_APP, Usage, Used};

/// How long a full queue or short memory is waited out before the step fails.
const PATIENCE: Duration = Duration::from_hours(1);

/// Bounds of the wait before a request that was put off is sent again.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Asks models.
#[derive(Debug)]
pub struct Asker {
    registry: std::sync::Arc<Registry>,
    usage: Usage,
    source: Source,
}

/// An answer and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// A text, or a value where one was asked for.
    pub value: Value,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// What a server took for them, in US dollars; `None` where the price is not known.
    pub cost_usd: Option<f64>,
}

impl Asker {
    /// Asks by this registry.
    pub fn new(registry: std::sync::Arc<Registry>, usage: Usage) -> Self {
        Self { registry, usage, source: Source::of(None) }
    }

    /// Asks on behalf of a workflow. Dropping the future cancels the request.
    pub async fn ask(&self, workflow: &str, request: &GenerateRequest) -> Result<Answered, Failure> {
        let result = self.patiently(&app_of(workflow), request).await.map_err(failure)?;
        let (prompt_tokens, completion_tokens) = (result.usage.prompt_tokens, result.usage.completion_tokens);
        let used = Used {
            provider: result.provider.clone(),
            model: result.model.clone(),
            app: app_of(workflow),
            prompt_tokens,
            completion_tokens,
        };
        let value = value(result, request.response_format.is_some())?;
        let cost_usd = self.usage.cost(used).await;
        Ok(Answered {
            value,
            prompt_tokens: prompt_tokens.into(),
            completion_tokens: completion_tokens.into(),
            cost_usd,
        })
    }

    /// Asks again where only the moment was wrong: background work has time.
    async fn patiently(&self, name: &str, request: &GenerateRequest) -> Result<GenerateResult, ErrorData> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let app = App { name: name.to_owned(), source: self.source };
            match self.registry.whole(request.clone(), app).await {
                Err(error)
                    if matches!(error.kind, Kind::Busy | Kind::MemoryPressure)
                        && tokio::time::Instant::now() < until =>
                {
                    let wait = error.retry_after_ms.map_or(SHORTEST, Duration::from_millis);
                    tokio::time::sleep(wait.clamp(SHORTEST, LONGEST)).await;
                }
                answer => return answer,
            }
        }
    }
}

/// As whom a workflow asks.
fn app_of(workflow: &str) -> String {
    let mut name = format!("workflow/{workflow}");
    // Names of workflows are ASCII.
    name.truncate(LONGEST_APP);
    name
}

fn failure(error: ErrorData) -> Failure {
    let after = error.retry_after_ms.map(Duration::from_millis);
    match (error.kind, error.kind.fault()) {
        (Kind::Cancelled, _) => Failure::may_pass(error.message),
        (_, Fault::Caller) => Failure::last(error.message),
        (_, Fault::Ours | Fault::TryLater) => Failure::MayPass { words: error.message, after },
    }
}

/// What an answer gives.
fn value(result: GenerateResult, is_value: bool) -> Result<Value, Failure> {
    match result.finish_reason {
        FinishReason::Cancelled => return Err(Failure::may_pass("its request was cancelled")),
        FinishReason::Blocked => {
            let named = result.blocked.map_or(String::new(), |reason| format!(": {reason}"));
            return Err(Failure::last(format!("the provider withheld the answer{named}")));
        }
        FinishReason::Length if is_value => {
            let words = "the answer was cut at `max_tokens` before it was whole: raise `max_tokens`, or ask for less";
            return Err(Failure::may_pass(words));
        }
        _ => {}
    }
    if !is_value {
        return Ok(Value::String(result.text));
    }
    serde_json::from_str(&result.text).map_err(|error| {
        let begin: String = result.text.chars().take(100).collect();
        Failure::may_pass(format!("the answer is no JSON ({error}): {begin:?}"))
    })
}

#[cfg(test)]
#[path = "llm_tests.rs"]
mod tests;
