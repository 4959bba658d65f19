//! `workflows.list`, `workflows.get`, `workflows.check`, `workflows.schema`, `workflows.run`: what is done step by step while
//! nobody asks.
//!
//! A workflow is a file of the user's; a run of it is the daemon's: it goes on when the client that asked for it is gone, and
//! after the daemon was killed. A run keeps the version of the file that it began with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::generate::is_default;
use crate::runs::Run;

/// All workflows of the folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowList {
    /// The folder, whether or not it is there.
    pub folder: String,
    /// Why nothing in it is read; absent where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// By name, broken ones with their problems.
    pub workflows: Vec<Workflow>,
}

/// One workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workflow {
    /// The name of its file, without `.toml`.
    pub name: String,
    /// Its file.
    pub path: String,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is wrong with it; one with problems does not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<WorkflowProblem>,
    /// What a run is given, beside `TRANSCRIPT`, `TITLE`, `FILE` and `DIRECTORY`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<WorkflowInput>,
    /// What starts a run by itself, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<String>,
    /// What keeps them from starting runs now, in words: a folder that is not there, a file that is too large.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trigger_problems: Vec<String>,
    /// The run that began last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Run>,
}

/// What is wrong with a workflow's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowProblem {
    /// The line, from 1 on; absent where it is about the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column, from 1 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What, and the way out.
    pub message: String,
}

/// One value that a run is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowInput {
    /// Its name in templates.
    pub name: String,
    /// Whether it has to be given.
    pub required: bool,
    /// What it is where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// Which workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowRef {
    /// Its name.
    pub workflow: String,
}

/// One workflow with its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowFile {
    /// What is known of it.
    #[serde(flatten)]
    pub workflow: Workflow,
    /// Its steps, in their order; empty where it has problems.
    pub steps: Vec<PlannedStep>,
    /// The file as it is; empty where it cannot be read.
    pub text: String,
}

/// A file to be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckWorkflow {
    /// The text of the file.
    pub text: String,
    /// Its name, for steps that call it; a new one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowCheck {
    /// Everything that is wrong; nothing where it can run.
    pub problems: Vec<WorkflowProblem>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunWorkflow {
    /// Which workflow.
    pub workflow: String,
    /// Its inputs by name. `TRANSCRIPT`, `TITLE`, `FILE` and `DIRECTORY` may be given to each.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Value>,
    /// Whether nothing is done, and only the plan is answered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dry_run: bool,
}

/// The run that was begun, or with `dry_run` what it would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunStarted {
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The steps, those of steps and of called workflows behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<PlannedStep>>,
}

/// A step before it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedStep {
    /// Where it stands: `2`, `3.then.1`; of a called workflow behind the place of the call. `*` stands for any item.
    pub place: String,
    /// Its name; its place where it has none.
    pub name: String,
    /// `llm`, `shell`, `webhook`, `save_file`, `transform`, `conditional`, `for_each`, `workflow` or `notify`.
    pub kind: String,
    /// The name of its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_key: Option<String>,
    /// Whether it is done again where a crash leaves open whether it was done.
    pub idempotent: bool,
    /// What it is told, as the file has it; in a plan with everything put in that is known before the run. Secrets stand as
    /// their names.
    pub parameters: Value,
}
