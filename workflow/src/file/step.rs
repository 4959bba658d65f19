//! One step: what all kinds have in common.

use std::time::Duration;

use super::action::Action;
use crate::node::At;
use crate::template::Expression;

/// One step of a workflow.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name for `goto`, where it has one; unique in the file.
    pub name: Option<At<String>>,
    /// The name of its output in templates.
    pub output_key: Option<At<String>>,
    /// It is skipped where this is not true.
    pub when: Option<Expression>,
    /// What follows when it fails.
    pub on_error: OnError,
    /// Whether it may be done again when a crash leaves open whether it was done.
    pub idempotent: bool,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// What it does.
    pub action: Action,
    /// Where it begins in the file, in bytes.
    pub at: usize,
}

/// What follows when a step fails: it is tried again while `retry` says so, then comes `then`.
#[derive(Debug, Clone, Default)]
pub struct OnError {
    /// How often it is tried again.
    pub retry: Option<Retry>,
    /// What comes when it is not tried again.
    pub then: Then,
}

/// How often a step is tried again, and how long is waited before.
#[derive(Debug, Clone)]
pub struct Retry {
    /// At most so often, beside the first time; 1 to 20.
    pub times: u32,
    /// Before the first further try; doubles with each.
    pub wait: Duration,
    /// The longest wait.
    pub most_wait: Duration,
}

/// What comes when a step failed for good.
#[derive(Debug, Clone, Default)]
pub enum Then {
    /// The run fails.
    #[default]
    Stop,
    /// As if the step had been skipped.
    Skip,
    /// The run goes on at the step of this name, which is one of the same list.
    Goto(At<String>),
}

impl OnError {
    /// How long to wait before it is tried again, after so many failures (at least 1); `None` where it is not.
    pub fn wait_after(&self, failures: u32) -> Option<Duration> {
        let retry = self.retry.as_ref().filter(|retry| (1..=retry.times).contains(&failures))?;
        let doubled = retry.wait.saturating_mul(1_u32 << (failures - 1).min(30));
        Some(doubled.min(retry.most_wait))
    }
}
