//! The course of a run: what is to be done next, given the workflow, what the run was given, and its log so far.
//!
//! It has no clock and does nothing: it says what is due, and is told what happened. Whatever it decides follows from the log,
//! so that a run goes on after a crash as it would have gone on without one: a step that is `done` is never due again; one
//! that was begun and of which nobody knows whether it was done is due again if it is idempotent, and else interrupts the run.
//!
//! Every execution of a step has a place: `2`, `3.then.1`, `4.7.1` (of item 7), `5.1` (of a workflow that step 5 calls),
//! `2#2` (the second time, after a `goto` back). Called by the daemon's runner.

mod inside;
mod names;
mod plan;
mod record;
mod task;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use protocol::{OpenStep, RunChange};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{DEEPEST, MOST_OUTPUT_BYTES, Problem, Workflow};
pub use plan::plan;
use record::Record;
pub use task::{LlmTask, NotifyTask, SaveFileTask, ShellTask, Task, WebhookTask};
use walk::Walk;

/// Most executions of steps in a run, those passed by counted.
pub const MOST_EXECUTIONS: usize = 1000;

/// Most steps of a run that are done at once.
pub const MOST_AT_ONCE: usize = 16;

/// The text of each file that a run goes by, by the workflow's name.
pub type Texts = BTreeMap<String, String>;

/// What a run was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// By name.
    pub inputs: Map<String, Value>,
    /// What happened, of a run that an event began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// When it began, with the time zone of then.
    pub time: String,
}

/// A workflow and those that it calls.
#[derive(Debug)]
pub struct Program {
    name: String,
    workflows: BTreeMap<String, Workflow>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Where it stands.
    pub place: String,
    /// The step's name; its place where it has none.
    pub name: String,
    /// Which attempt, from 1 on.
    pub attempt: u32,
    /// How long to wait before it begins.
    pub after: Duration,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Whether it may be done twice.
    pub idempotent: bool,
    /// The name of its workflow.
    pub workflow: String,
    /// What.
    pub task: Task,
}

/// What comes next.
#[derive(Debug, Default)]
pub struct Next {
    /// What was decided, to be logged before anything is done.
    pub notes: Vec<RunChange>,
    /// What is to be done now; it is not told again until it ended.
    pub due: Vec<Due>,
    /// The end, once nothing is due and nothing that was due still goes on.
    pub end: Option<End>,
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// All is done.
    Finished {
        /// The output of the last step.
        output: Value,
        /// Outputs by their keys.
        outputs: Map<String, Value>,
    },
    /// A step failed.
    Failed(String),
    /// Nobody knows whether a step was done that may not be done twice.
    Interrupted(String),
}

/// The course of one run.
#[derive(Debug)]
pub struct Course {
    program: Arc<Program>,
    run: String,
    given: Given,
    time: Zoned,
    record: Record,
}

impl Given {
    /// Inputs at a time.
    pub fn new(inputs: Map<String, Value>, event: Option<Value>, time: &Zoned) -> Self {
        Self { inputs, event, time: time.to_string() }
    }
}

impl Program {
    /// Reads the files; what is wrong with one is told with its name.
    pub fn read(name: &str, texts: &Texts) -> Result<Self, (String, Vec<Problem>)> {
        let mut workflows = BTreeMap::new();
        for (name, text) in texts {
            let workflow = Workflow::read(name, text).map_err(|problems| (name.clone(), problems))?;
            workflows.insert(name.clone(), workflow);
        }
        Ok(Self { name: name.to_owned(), workflows })
    }

    fn get(&self, name: &str) -> Result<&Workflow, String> {
        self.workflows.get(name).ok_or_else(|| format!("there is no workflow `{name}`"))
    }
}

impl Due {
    /// The entry that is logged before it is done.
    pub fn began(&self) -> RunChange {
        RunChange::Began {
            place: self.place.clone(),
            name: self.name.clone(),
            kind: self.task.kind().to_owned(),
            inputs_hash: self.task.hash(),
            attempt: self.attempt,
        }
    }
}

impl Course {
    /// Of a run, as its log says.
    pub fn new(program: Arc<Program>, run: &str, given: Given, log: &[RunChange]) -> Result<Self, String> {
        let time = given.time.parse().map_err(|error| format!("the time of its start cannot be read: {error}"))?;
        let mut record = Record::default();
        for change in log {
            record.apply(change);
        }
        Ok(Self { program, run: run.to_owned(), given, time, record })
    }

    /// What comes next. Takes as long as the templates do.
    pub fn advance(&mut self) -> Next {
        let program = Arc::clone(&self.program);
        let walk = Walk::new(&program, &self.run, &self.time, &mut self.record);
        walk.whole(&self.given)
    }

    /// Takes what happened: `began` when something due begins, `done` or `failed` when it ended.
    pub fn take(&mut self, change: &RunChange) {
        self.record.take(change);
    }

    /// What is due and goes on.
    pub fn at_work(&self) -> usize {
        self.record.flight.len()
    }

    /// What is to be logged to go on with a run that is at rest. An interrupted one needs to be told what to do with the steps
    /// that were left open.
    pub fn resume(&mut self, open: Option<OpenStep>) -> Result<Vec<RunChange>, String> {
        let program = Arc::clone(&self.program);
        let left = Walk::new(&program, &self.run, &self.time, &mut self.record).left_open(&self.given);
        match open {
            Some(OpenStep::Skip) => {
                let why = "somebody said so";
                let places = left.into_iter().chain(self.record.failed());
                Ok(places.map(|place| RunChange::Skipped { place, why: why.into(), goto: None }).collect())
            }
            Some(OpenStep::Again) => Ok(left.into_iter().map(again).collect()),
            None => match left.first() {
                Some(place) => Err(format!(
                    "whether step {place} was done is not known: say `again` to do it again, or `skip` to pass it by"
                )),
                None => Ok(Vec::new()),
            },
        }
    }
}

fn again(place: String) -> RunChange {
    let error = "the daemon ended in its midst; it is done again, as somebody said".into();
    RunChange::Failed { place, error, attempt: 0, duration_ms: 0 }
}

/// Why an output is not taken.
pub fn too_long(output: &Value) -> Option<String> {
    let bytes = serde_json::to_string(output).map_or(0, |text| text.len());
    (bytes > MOST_OUTPUT_BYTES).then(|| {
        format!("its output has {bytes} bytes, but {MOST_OUTPUT_BYTES} are the most: save it in a file instead")
    })
}

/// Why one workflow too many calls another.
fn too_deep(depth: usize) -> Option<String> {
    (depth > DEEPEST).then(|| format!("more than {DEEPEST} workflows call each other"))
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
