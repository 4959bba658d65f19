//! The names that the steps of one workflow see, and their values. Shared values are cheap to clone.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Zoned;
use serde_json::{Map, Value};

use crate::Workflow;
use crate::file::{Action, Step};
use crate::scope::{PREVIOUS_OUTPUT, Scope, Start};

/// Names and their values.
#[derive(Clone)]
pub struct Names<'a> {
    /// Whose steps see them.
    pub workflow: &'a Workflow,
    /// How many workflows called each other up to this one.
    pub depth: usize,
    /// Inputs, outputs and items.
    pub values: BTreeMap<String, Arc<Value>>,
    /// Which of them are outputs.
    outputs: BTreeMap<String, Arc<Value>>,
    previous: Option<Arc<Value>>,
    event: Option<&'a Value>,
}

impl<'a> Names<'a> {
    /// At the beginning of a workflow.
    pub fn new(
        workflow: &'a Workflow,
        given: BTreeMap<String, Arc<Value>>,
        event: Option<&'a Value>,
        depth: usize,
    ) -> Self {
        let mut values = BTreeMap::new();
        for (name, input) in &workflow.inputs {
            if let Some(default) = &input.default {
                values.insert(name.clone(), Arc::new(default.clone()));
            }
        }
        values.extend(given);
        Self { workflow, depth, values, outputs: BTreeMap::new(), previous: None, event }
    }

    /// What follows sees the output of a step. There is none of `notify`.
    pub fn bind(&mut self, step: &Step, output: &Arc<Value>) {
        if matches!(step.action, Action::Notify(_)) {
            return;
        }
        self.previous = Some(Arc::clone(output));
        if let Some(key) = &step.output_key {
            self.values.insert(key.to_string(), Arc::clone(output));
            self.outputs.insert(key.to_string(), Arc::clone(output));
        }
    }

    /// As templates see them.
    pub fn scope(&self, run: &str, time: &Zoned) -> Scope {
        let mut scope = Scope::new(&Start { run, workflow: &self.workflow.name, time, event: self.event });
        for (name, value) in &self.values {
            scope.set(name, value);
        }
        if let Some(previous) = &self.previous {
            scope.set(PREVIOUS_OUTPUT, previous);
        }
        scope
    }

    /// The outputs by their keys.
    pub fn outputs(&self) -> Map<String, Value> {
        self.outputs.iter().map(|(key, value)| (key.clone(), Value::clone(value))).collect()
    }
}
