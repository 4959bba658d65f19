//! What the log says of each execution of a step. Written by entries alone; read by the walk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::{RunChange, RunState};
use serde_json::Value;

/// All executions, by place.
#[derive(Debug, Default)]
pub struct Record {
    executions: BTreeMap<String, Execution>,
    /// What was due and has not ended; no log tells of it.
    pub flight: BTreeSet<String>,
    /// What an execution found out when it began, so that it is not found out again.
    pub found: HashMap<String, Arc<Found>>,
    /// Lists of items of which one failed: nothing more begins there.
    pub failing: BTreeSet<String>,
}

/// One execution.
#[derive(Debug, Clone)]
pub enum Execution {
    /// Begun.
    Open {
        /// Which attempt.
        attempt: u32,
    },
    /// Done, with this output.
    Done(Arc<Value>),
    /// Failed.
    Failed {
        /// Why.
        error: String,
        /// After so many attempts; 0 where another makes no sense.
        attempt: u32,
    },
    /// Passed by; goes on at a step, where that is not the next one.
    Skipped(Option<String>),
}

/// What a step that has others inside found out.
#[derive(Debug)]
pub enum Found {
    /// Which way it goes.
    Way(bool),
    /// The items of its list.
    Items(Vec<Arc<Value>>),
    /// What the called workflow is given.
    Inputs(BTreeMap<String, Arc<Value>>),
}

impl Found {
    /// As a value, of which a hash is made.
    pub fn told(&self) -> Value {
        match self {
            Self::Way(way) => Value::Bool(*way),
            Self::Items(items) => items.iter().map(|item| Value::clone(item)).collect(),
            Self::Inputs(inputs) => inputs.iter().map(|(name, value)| (name.clone(), Value::clone(value))).collect(),
        }
    }
}

impl Record {
    /// How many executions there are.
    pub fn len(&self) -> usize {
        self.executions.len()
    }

    pub fn get(&self, place: &str) -> Option<Execution> {
        self.executions.get(place).cloned()
    }

    /// Takes an entry of what was due.
    pub fn take(&mut self, change: &RunChange) {
        match change {
            RunChange::Done { place, .. } | RunChange::Failed { place, .. } => drop(self.flight.remove(place)),
            // One that has others inside goes on by those.
            RunChange::Began { place, kind, .. } if is_container(kind) => drop(self.flight.remove(place)),
            _ => {}
        }
        self.apply(change);
    }

    /// Takes an entry of the log.
    pub fn apply(&mut self, change: &RunChange) {
        match change {
            RunChange::Began { place, attempt, .. } => {
                self.forgive(&format!("{place}."));
                self.failing.remove(place);
                self.executions.insert(place.clone(), Execution::Open { attempt: *attempt });
            }
            RunChange::Done { place, output, .. } => {
                self.executions.insert(place.clone(), Execution::Done(Arc::new(output.clone())));
            }
            RunChange::Failed { place, error, attempt, .. } => {
                let failed = Execution::Failed { error: error.clone(), attempt: *attempt };
                self.executions.insert(place.clone(), failed);
            }
            RunChange::Skipped { place, goto, .. } => {
                self.executions.insert(place.clone(), Execution::Skipped(goto.clone()));
            }
            // Somebody has it go on: what failed may be tried again.
            RunChange::State { state: RunState::Waiting, .. } => self.forgive(""),
            RunChange::State { .. } => {}
        }
    }

    /// Forgets what failed at places that begin so.
    fn forgive(&mut self, begin: &str) {
        let is_forgiven = |place: &str, execution: &Execution| {
            place.starts_with(begin) && matches!(execution, Execution::Failed { .. })
        };
        self.executions.retain(|place, execution| !is_forgiven(place, execution));
        self.failing.retain(|place| !place.starts_with(begin));
    }

    /// The steps that failed, without those that failed because of another inside.
    pub fn failed(&self) -> Vec<String> {
        let failed = self.executions.iter().filter(|(_, execution)| matches!(execution, Execution::Failed { .. }));
        let places: Vec<&String> = failed.map(|(place, _)| place).collect();
        let is_outer = |place: &str| places.iter().any(|other| other.starts_with(&format!("{place}.")));
        places.iter().filter(|place| !is_outer(place)).map(|place| (*place).clone()).collect()
    }
}

fn is_container(kind: &str) -> bool {
    matches!(kind, "conditional" | "for_each" | "workflow")
}
