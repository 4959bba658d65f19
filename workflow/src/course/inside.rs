//! The walk through steps that have others inside: what they are about, and how far the steps inside are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::names::Names;
use super::record::Found;
use super::too_deep;
use super::walk::{Flow, Here, Walk};
use crate::file::{self, Action, Step, WorkflowCall};
use crate::scope::Scope;

impl<'a> Walk<'a> {
    /// Walks through the steps inside another.
    pub(super) fn inside(&mut self, here: &Here<'a>, names: &mut Names<'a>, found: &Found) -> Flow {
        let place = &here.place;
        match (&here.step.action, found) {
            (Action::Conditional(fork), Found::Way(true)) => self.list(&fork.then, &format!("{place}.then."), names),
            (Action::Conditional(fork), _) => self.list(&fork.otherwise, &format!("{place}.else."), names),
            (Action::ForEach(each), Found::Items(items)) => {
                let parallel = each.parallel.0 as usize;
                self.items(place, &each.steps, &each.name, items, parallel, names)
            }
            (Action::Workflow(call), Found::Inputs(inputs)) => {
                let program = self.program;
                let called = match program.get(&call.name) {
                    Ok(workflow) => workflow,
                    Err(error) => return Flow::Failed(error),
                };
                let mut inner = Names::new(called, inputs.clone(), None, names.depth + 1);
                match self.list(&called.steps, &format!("{place}."), &mut inner) {
                    Flow::Done(_) => Flow::Done(Arc::new(Value::Object(inner.outputs()))),
                    flow => flow,
                }
            }
            _ => Flow::Failed("it has no steps inside".into()),
        }
    }

    /// Does steps for each item, so many at once. Where one fails, nothing more begins, and what goes on ends.
    fn items(
        &mut self,
        place: &str,
        steps: &'a [Step],
        name: &str,
        items: &[Arc<Value>],
        parallel: usize,
        names: &Names<'a>,
    ) -> Flow {
        let was_held = self.is_held;
        self.is_held |= self.record.failing.contains(place);
        let (mut outputs, mut active, mut goes_on, mut failed) = (Vec::new(), 0, false, None);
        for (number, item) in (1..).zip(items) {
            if active >= parallel {
                break;
            }
            let mut inner = names.clone();
            inner.values.insert(name.to_owned(), Arc::clone(item));
            match self.list(steps, &format!("{place}.{number}."), &mut inner) {
                Flow::Done(output) => outputs.push(Value::clone(&output)),
                Flow::Pending => (active, goes_on) = (active + 1, true),
                Flow::Held => active += 1,
                Flow::Failed(error) => drop(failed.get_or_insert(error)),
            }
        }
        self.is_held = was_held;
        match failed {
            Some(error) if self.record.failing.contains(place) && !goes_on => Flow::Failed(error),
            Some(_) => {
                self.record.failing.insert(place.to_owned());
                if goes_on { Flow::Pending } else { Flow::Held }
            }
            None if active == 0 => Flow::Done(Arc::new(Value::Array(outputs))),
            None if goes_on => Flow::Pending,
            None => Flow::Held,
        }
    }

    /// What a step that has others inside is about, found out once.
    pub(super) fn found(&mut self, here: &Here<'a>, names: &Names<'a>) -> Result<Arc<Found>, String> {
        if let Some(found) = self.record.found.get(&here.place) {
            return Ok(Arc::clone(found));
        }
        let scope = names.scope(self.run, self.time);
        let found = match &here.step.action {
            Action::Conditional(fork) => {
                Found::Way(fork.condition.is_true(&scope).map_err(|error| format!("if: {error}"))?)
            }
            Action::ForEach(each) => match each.items.value(&scope).map_err(|error| format!("items: {error}"))? {
                Value::Array(items) => Found::Items(items.into_iter().map(Arc::new).collect()),
                other => {
                    return Err(format!(
                        "items: `{}` gives {}, but a list is needed",
                        each.items.source(),
                        kind(&other)
                    ));
                }
            },
            Action::Workflow(call) => {
                if let Some(error) = too_deep(names.depth + 1) {
                    return Err(error);
                }
                let inputs = given(call, &scope)?;
                let called = self.program.get(&call.name)?;
                if let Some(problem) = called.input_problems(inputs.keys().map(String::as_str)).into_iter().next() {
                    return Err(problem);
                }
                Found::Inputs(inputs.into_iter().map(|(name, value)| (name, Arc::new(value))).collect())
            }
            _ => return Err("it has no steps inside".into()),
        };
        let found = Arc::new(found);
        self.record.found.insert(here.place.clone(), Arc::clone(&found));
        Ok(found)
    }
}

/// What a called workflow is given.
fn given(call: &WorkflowCall, scope: &Scope) -> Result<BTreeMap<String, Value>, String> {
    let value = |(name, given): (&String, &file::Given)| {
        let value = match given {
            file::Given::Value(value) => value.clone(),
            file::Given::Template(template) => {
                template.render_value(scope).map_err(|error| format!("inputs.{name}: {error}"))?
            }
        };
        Ok((name.clone(), value))
    };
    call.inputs.iter().map(value).collect()
}

/// What a value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
