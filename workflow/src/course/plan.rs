//! What a run would do, as far as that is known before it: a dry run. Nothing is done, and no secret is looked up.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Zoned;
use protocol::PlannedStep;
use serde_json::{Value, json};

use super::names::Names;
use super::task::{Fill, Task, is_container, kind_of, without_nothing};
use super::{Given, MOST_EXECUTIONS, Program, too_deep};
use crate::Workflow;
use crate::file::{self, Action, Step, Transform};
use crate::template::Expression;

/// The steps of a workflow in their order, those inside others and of called workflows behind them.
pub fn plan(program: &Program, run: &str, given: &Given) -> Result<Vec<PlannedStep>, String> {
    let time: Zoned = given.time.parse().map_err(|error| format!("the time of its start cannot be read: {error}"))?;
    let workflow = program.get(&program.name)?;
    let inputs = given.inputs.iter().map(|(name, value)| (name.clone(), Arc::new(value.clone()))).collect();
    let names = Names::new(workflow, inputs, given.event.as_ref(), 1);
    let mut planned = Plan { program, run, time: &time, steps: Vec::new() };
    planned.list(&workflow.steps, "", &names);
    Ok(planned.steps)
}

struct Plan<'a> {
    program: &'a Program,
    run: &'a str,
    time: &'a Zoned,
    steps: Vec<PlannedStep>,
}

impl<'a> Plan<'a> {
    fn list(&mut self, steps: &'a [Step], prefix: &str, names: &Names<'a>) {
        for (number, step) in (1..).zip(steps) {
            if self.steps.len() < MOST_EXECUTIONS {
                self.step(step, &format!("{prefix}{number}"), names);
            }
        }
    }

    fn step(&mut self, step: &'a Step, place: &str, names: &Names<'a>) {
        let mut parameters = self.parameters(step, names);
        if let (Some(when), Some(entries)) = (&step.when, parameters.as_object_mut()) {
            entries.insert("when".into(), when.source().into());
        }
        self.steps.push(PlannedStep {
            place: place.to_owned(),
            name: step.name.as_ref().map_or_else(|| place.to_owned(), ToString::to_string),
            kind: kind_of(&step.action).to_owned(),
            output_key: step.output_key.as_ref().map(ToString::to_string),
            idempotent: step.idempotent,
            parameters,
        });
        if is_container(&step.action) {
            self.inside(&step.action, place, names);
        }
    }

    fn parameters(&self, step: &Step, names: &Names<'a>) -> Value {
        match &step.action {
            Action::Transform(transform) => of_transform(transform),
            Action::Conditional(fork) => json!({ "if": fork.condition.source() }),
            Action::ForEach(each) => {
                json!({ "items": each.items.source(), "as": each.name.value, "parallel": each.parallel.0 })
            }
            Action::Workflow(call) => {
                let inputs: BTreeMap<&String, Value> =
                    call.inputs.iter().map(|(name, value)| (name, written(value))).collect();
                json!({ "name": call.name.value, "inputs": inputs })
            }
            action => {
                let scope = names.scope(self.run, self.time);
                let task = Task::of(action, names.workflow, &Fill::AsKnown(&scope));
                task.map_or_else(Value::String, |task| task.parameters())
            }
        }
    }

    fn inside(&mut self, action: &'a Action, place: &str, names: &Names<'a>) {
        match action {
            Action::Conditional(fork) => {
                self.list(&fork.then, &format!("{place}.then."), names);
                self.list(&fork.otherwise, &format!("{place}.else."), names);
            }
            Action::ForEach(each) => self.list(&each.steps, &format!("{place}.*."), names),
            Action::Workflow(call) => {
                let program = self.program;
                let called: Option<&Workflow> = program.get(&call.name).ok();
                if let Some(called) = called.filter(|_| too_deep(names.depth + 1).is_none()) {
                    let inner = Names::new(called, BTreeMap::new(), None, names.depth + 1);
                    self.list(&called.steps, &format!("{place}."), &inner);
                }
            }
            _ => {}
        }
    }
}

fn written(given: &file::Given) -> Value {
    match given {
        file::Given::Template(template) => template.source().into(),
        file::Given::Value(value) => value.clone(),
    }
}

fn of_transform(transform: &Transform) -> Value {
    without_nothing(json!({
        "from": transform.from.as_ref().map(Expression::source),
        "pointer": transform.pointer.as_ref().map(|pointer| &pointer.0),
        "regex": transform.regex.as_ref().map(|regex| regex.0.as_str()),
        "split": transform.split.as_ref().map(ToString::to_string),
        "join": transform.join.as_ref().map(ToString::to_string),
        "json": transform.json.then_some(true),
    }))
}
