//! `workflows.runs`, `workflows.show`, `workflows.cancel`, `workflows.resume`, `workflows.subscribe`: runs of workflows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::generate::is_default;

/// Most runs that are listed at once.
pub const MOST_RUNS: u32 = 1000;

/// Names one run; made by the daemon, `run_` and a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(pub String);

impl RunId {
    /// The name of a number.
    pub fn of(number: u64) -> Self {
        Self(format!("run_{number}"))
    }

    /// Its number; `None` where this names no run.
    pub fn number(&self) -> Option<u64> {
        self.0.strip_prefix("run_")?.parse().ok()
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRuns {
    /// Of this workflow; of all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// In this state; in any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,
    /// So many at most, 1 to 1000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
}

/// Runs, the latest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunList {
    /// Those that were asked for.
    pub runs: Vec<Run>,
}

/// One run of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Names it.
    pub run: RunId,
    /// Of which workflow.
    pub workflow: String,
    /// What it is doing.
    pub state: RunState,
    /// What started it: `by hand`, or a trigger in words.
    pub cause: String,
    /// Why it is in its state: what failed, or which step a crash left open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it was asked for, by RFC 3339.
    pub created: String,
    /// When it came to rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Tokens of its prompts.
    pub prompt_tokens: u64,
    /// Tokens of its answers.
    pub completion_tokens: u64,
    /// What servers took for them, in US dollars, by the prices of then; absent where a price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for others.
    Waiting,
    /// Does its steps.
    Running,
    /// Has done them all.
    Finished,
    /// A step failed, and nothing in the workflow says to go on.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// A crash left open whether a step was done that may not be done twice; `workflows.resume` says what to do with it.
    Interrupted,
}

impl RunState {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Running, Self::Finished, Self::Failed, Self::Cancelled, Self::Interrupted];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether nothing more happens by itself.
    pub const fn is_at_rest(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRef {
    /// Its id.
    pub run: RunId,
}

/// Which run, and from where on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowRun {
    /// Its id.
    pub run: RunId,
    /// Entries behind this number; from the first on when absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: u64,
}

/// A run and what happened in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunDetails {
    /// The run.
    pub run: Run,
    /// What it was given.
    pub inputs: Map<String, Value>,
    /// The output of its last step, once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Its outputs by their keys, once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Map<String, Value>>,
    /// What happened, in its order.
    pub log: Vec<RunEntry>,
    /// Whether there is more than fits into a message: ask again, `after` the last.
    pub more: bool,
}

/// One thing that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunEntry {
    /// Its number in the run, from 1 on.
    pub seq: u64,
    /// When, by RFC 3339.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub change: RunChange,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunChange {
    /// A step is about to be done. This is on the disk before anything of it is.
    Began {
        /// Where it stands: `2`, `3.then.1`, `4.7.1` (of item 7); `2#2` after a `goto` back.
        place: String,
        /// Its name.
        name: String,
        /// Its kind.
        kind: String,
        /// Of everything that it is told, SHA-256 in hexadecimal digits.
        inputs_hash: String,
        /// Which attempt, from 1 on.
        attempt: u32,
    },
    /// A step is done.
    Done {
        /// Which.
        place: String,
        /// What it gave.
        output: Value,
        /// Tokens of its prompt.
        #[serde(default, skip_serializing_if = "is_default")]
        prompt_tokens: u64,
        /// Tokens of its answer.
        #[serde(default, skip_serializing_if = "is_default")]
        completion_tokens: u64,
        /// What a server took for them, in US dollars; absent where the price is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
        /// How long it took.
        duration_ms: u64,
    },
    /// An attempt at a step failed.
    Failed {
        /// Which step.
        place: String,
        /// Why.
        error: String,
        /// Which attempt.
        attempt: u32,
        /// How long it took.
        duration_ms: u64,
    },
    /// A step is passed by.
    Skipped {
        /// Which.
        place: String,
        /// Why.
        why: String,
        /// The step at which the run goes on, where that is not the next one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        goto: Option<String>,
    },
    /// The run is in another state.
    State {
        /// Which.
        state: RunState,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

impl RunChange {
    /// A step is done that took no time and no tokens.
    pub fn done(place: &str, output: Value) -> Self {
        let place = place.to_owned();
        Self::Done { place, output, prompt_tokens: 0, completion_tokens: 0, cost_usd: None, duration_ms: 0 }
    }
}

/// Which run to go on with, and what to do with a step that a crash left open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRun {
    /// A failed, cancelled or interrupted one; what it has done stays done.
    pub run: RunId,
    /// Needed of an interrupted one: `again` does the open step again, `skip` passes it by. Of a failed one `skip` passes the
    /// failed step by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenStep>,
}

/// What to do with a step of which nobody knows whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenStep {
    /// Do it again.
    Again,
    /// Pass it by.
    Skip,
}

/// Which runs to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribeRuns {
    /// This one, until it is at rest; all of them, without end, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Of one run: what came behind this number, 0 for everything; from now on when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// What `workflows.subscribe` sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunEvent {
    /// In which run something happened.
    pub run: RunId,
    /// Of which workflow.
    pub workflow: String,
    /// What.
    pub entry: RunEntry,
}
