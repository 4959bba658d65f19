//! One walk through a workflow from its first step on, past everything that the log tells of, up to what is due.

use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use protocol::RunChange;
use serde_json::{Map, Value};

use super::names::Names;
use super::record::{Execution, Record};
use super::task::{Fill, Task, hash_of, is_container, kind_of};
use super::{Due, End, Given, MOST_AT_ONCE, MOST_EXECUTIONS, Next, Program, too_long};
use crate::file::{Action, Step, Then};

/// A walk.
pub struct Walk<'a> {
    pub(super) program: &'a Program,
    pub(super) run: &'a str,
    pub(super) time: &'a Zoned,
    pub(super) record: &'a mut Record,
    notes: Vec<RunChange>,
    due: Vec<Due>,
    /// Steps of which nobody knows whether they were done.
    open: Vec<(String, String)>,
    /// Nothing more begins here.
    pub(super) is_held: bool,
}

/// How far a list of steps is.
pub(super) enum Flow {
    /// All done; the output of the last step.
    Done(Arc<Value>),
    /// Something goes on.
    Pending,
    /// It could go on, but nothing may begin.
    Held,
    /// A step failed.
    Failed(String),
}

/// What became of one step.
enum Passed {
    Done(Arc<Value>),
    Skipped,
    Goto(String),
    Pending,
    Held,
    Failed(String),
}

/// One step where it stands.
pub(super) struct Here<'a> {
    pub step: &'a Step,
    pub place: String,
    name: String,
}

impl<'a> Walk<'a> {
    pub fn new(program: &'a Program, run: &'a str, time: &'a Zoned, record: &'a mut Record) -> Self {
        Self { program, run, time, record, notes: Vec::new(), due: Vec::new(), open: Vec::new(), is_held: false }
    }

    /// Walks, and says what comes next.
    pub fn whole(mut self, given: &'a Given) -> Next {
        let (flow, outputs) = self.settled(given);
        let mut end = None;
        if let Some((place, name)) = self.open.first() {
            self.due.clear();
            if self.record.flight.is_empty() {
                end = Some(End::Interrupted(format!(
                    "step `{name}` (place {place}) was begun, and the daemon ended before it was done: it may have been done, \
                     or not"
                )));
            }
        } else {
            end = match flow {
                Flow::Done(output) => Some(End::Finished { output: Value::clone(&output), outputs }),
                Flow::Failed(error) => Some(End::Failed(error)),
                Flow::Pending | Flow::Held => None,
            };
        }
        self.record.flight.extend(self.due.iter().map(|due| due.place.clone()));
        Next { notes: self.notes, due: self.due, end }
    }

    /// The places of the steps that were left open.
    pub fn left_open(mut self, given: &'a Given) -> Vec<String> {
        self.settled(given);
        self.open.into_iter().map(|(place, _)| place).collect()
    }

    /// Walks until no list of items is newly found to fail: what was due in one that is may not begin.
    fn settled(&mut self, given: &'a Given) -> (Flow, Map<String, Value>) {
        loop {
            (self.due, self.open) = (Vec::new(), Vec::new());
            let failing = self.record.failing.len();
            let (flow, outputs) = self.root(given);
            if self.record.failing.len() == failing {
                return (flow, outputs);
            }
        }
    }

    fn root(&mut self, given: &'a Given) -> (Flow, Map<String, Value>) {
        let program = self.program;
        let workflow = match program.get(&program.name) {
            Ok(workflow) => workflow,
            Err(error) => return (Flow::Failed(error), Map::new()),
        };
        let inputs = given.inputs.iter().map(|(name, value)| (name.clone(), Arc::new(value.clone()))).collect();
        let mut names = Names::new(workflow, inputs, given.event.as_ref(), 1);
        let flow = self.list(&workflow.steps, "", &mut names);
        (flow, names.outputs())
    }

    /// Walks through steps in their order.
    pub(super) fn list(&mut self, steps: &'a [Step], prefix: &str, names: &mut Names<'a>) -> Flow {
        let (mut visits, mut at, mut last) = (vec![0_u32; steps.len()], 0, Arc::new(Value::Null));
        while let Some(step) = steps.get(at) {
            visits[at] += 1;
            let place = match visits[at] {
                1 => format!("{prefix}{}", at + 1),
                visit => format!("{prefix}{}#{visit}", at + 1),
            };
            match self.step(&Here::new(step, place), names) {
                Passed::Done(output) => {
                    names.bind(step, &output);
                    (last, at) = (output, at + 1);
                }
                Passed::Skipped => (last, at) = (Arc::new(Value::Null), at + 1),
                Passed::Goto(name) => match steps.iter().position(|step| step.name.as_deref() == Some(&name)) {
                    Some(found) => at = found,
                    None => return Flow::Failed(format!("there is no step `{name}` to go to")),
                },
                Passed::Pending => return Flow::Pending,
                Passed::Held => return Flow::Held,
                Passed::Failed(error) => return Flow::Failed(error),
            }
        }
        Flow::Done(last)
    }

    fn step(&mut self, here: &Here<'a>, names: &mut Names<'a>) -> Passed {
        let (attempt, after) = match self.record.get(&here.place) {
            Some(Execution::Done(output)) => return Passed::Done(output),
            Some(Execution::Skipped(None)) => return Passed::Skipped,
            Some(Execution::Skipped(Some(name))) => return Passed::Goto(name),
            Some(Execution::Open { attempt }) => return self.go_on(here, names, attempt),
            Some(Execution::Failed { error, attempt }) => match here.step.on_error.wait_after(attempt) {
                Some(wait) => (attempt + 1, wait),
                None => return self.given_up(here, &error),
            },
            None => (1, Duration::ZERO),
        };
        if self.record.flight.contains(&here.place) {
            return Passed::Pending;
        }
        if self.is_held {
            return Passed::Held;
        }
        if attempt == 1 {
            if self.record.len() >= MOST_EXECUTIONS {
                return Passed::Failed(format!("more than {MOST_EXECUTIONS} steps would be done"));
            }
            match here.step.when.as_ref().map(|when| when.is_true(&names.scope(self.run, self.time))) {
                Some(Err(error)) => return self.failed(here, names, 0, &format!("when: {error}")),
                Some(Ok(false)) => return self.skipped(here, "`when` is not true".into(), None),
                Some(Ok(true)) | None => {}
            }
        }
        self.begin(here, names, attempt, after)
    }

    /// Begins an attempt.
    fn begin(&mut self, here: &Here<'a>, names: &mut Names<'a>, attempt: u32, after: Duration) -> Passed {
        let action = &here.step.action;
        if !is_container(action) && !matches!(action, Action::Transform(_)) {
            return self.leaf(here, names, attempt, after);
        }
        if after > Duration::ZERO {
            // Its beginning is logged when it has waited.
            let task = Task::Enter(kind_of(action));
            return self.give(here, names, attempt, after, task);
        }
        let task = Task::Enter(kind_of(action));
        let mut due = Self::due(here, names, attempt, after, task).began();
        if let Action::Transform(transform) = action {
            let scope = names.scope(self.run, self.time);
            self.note(due);
            let took = transform.output(&scope).map_err(|error| error.to_string());
            return match took.and_then(|output| too_long(&output).map_or(Ok(output), Err)) {
                Ok(output) => self.done(here, output),
                Err(error) => self.failed(here, names, 0, &error),
            };
        }
        match self.found(here, names) {
            Err(error) => self.failed(here, names, 0, &error),
            Ok(found) => {
                if let RunChange::Began { inputs_hash, .. } = &mut due {
                    *inputs_hash = hash_of(&found.told());
                }
                self.note(due);
                self.go_on(here, names, attempt)
            }
        }
    }

    /// Goes on with a step that was begun.
    fn go_on(&mut self, here: &Here<'a>, names: &mut Names<'a>, attempt: u32) -> Passed {
        let action = &here.step.action;
        if matches!(action, Action::Transform(_)) {
            return self.begin(here, names, attempt, Duration::ZERO);
        }
        if !is_container(action) {
            if self.record.flight.contains(&here.place) {
                return Passed::Pending;
            }
            if !here.step.idempotent {
                self.open.push((here.place.clone(), here.name.clone()));
                return Passed::Held;
            }
            return self.leaf(here, names, attempt, Duration::ZERO);
        }
        let found = match self.found(here, names) {
            Ok(found) => found,
            Err(error) => return self.failed(here, names, 0, &error),
        };
        match self.inside(here, names, &found) {
            Flow::Pending => Passed::Pending,
            Flow::Held => Passed::Held,
            Flow::Failed(error) => self.failed(here, names, attempt, &error),
            Flow::Done(output) => match too_long(&output) {
                Some(error) => self.failed(here, names, 0, &error),
                None => self.done(here, Value::clone(&output)),
            },
        }
    }

    fn leaf(&mut self, here: &Here<'a>, names: &mut Names<'a>, attempt: u32, after: Duration) -> Passed {
        let scope = names.scope(self.run, self.time);
        match Task::of(&here.step.action, names.workflow, &Fill::Strictly(&scope)) {
            Ok(task) => self.give(here, names, attempt, after, task),
            Err(error) => self.failed(here, names, 0, &error),
        }
    }

    /// Has something done.
    fn give(&mut self, here: &Here<'a>, names: &Names<'a>, attempt: u32, after: Duration, task: Task) -> Passed {
        if self.is_held || self.record.flight.len() + self.due.len() >= MOST_AT_ONCE {
            return Passed::Held;
        }
        let due = Self::due(here, names, attempt, after, task);
        self.due.push(due);
        Passed::Pending
    }

    fn due(here: &Here<'a>, names: &Names<'a>, attempt: u32, after: Duration, task: Task) -> Due {
        Due {
            place: here.place.clone(),
            name: here.name.clone(),
            attempt,
            after,
            timeout: here.step.timeout,
            idempotent: here.step.idempotent,
            workflow: names.workflow.name.clone(),
            task,
        }
    }

    fn done(&mut self, here: &Here<'a>, output: Value) -> Passed {
        self.note(RunChange::done(&here.place, output.clone()));
        Passed::Done(Arc::new(output))
    }

    fn skipped(&mut self, here: &Here<'a>, why: String, goto: Option<String>) -> Passed {
        self.note(RunChange::Skipped { place: here.place.clone(), why, goto: goto.clone() });
        goto.map_or(Passed::Skipped, Passed::Goto)
    }

    /// Notes a failure and does what follows from it.
    fn failed(&mut self, here: &Here<'a>, names: &mut Names<'a>, attempt: u32, error: &str) -> Passed {
        let (place, error) = (here.place.clone(), error.to_owned());
        self.note(RunChange::Failed { place, error, attempt, duration_ms: 0 });
        self.step(here, names)
    }

    fn given_up(&mut self, here: &Here<'a>, error: &str) -> Passed {
        match &here.step.on_error.then {
            Then::Stop => Passed::Failed(format!("`{}`: {error}", here.name)),
            Then::Skip => self.skipped(here, format!("it failed: {error}"), None),
            Then::Goto(name) => self.skipped(here, format!("it failed: {error}"), Some(name.to_string())),
        }
    }

    fn note(&mut self, change: RunChange) {
        self.record.apply(&change);
        self.notes.push(change);
    }
}

impl<'a> Here<'a> {
    fn new(step: &'a Step, place: String) -> Self {
        let name = step.name.as_ref().map_or_else(|| place.clone(), ToString::to_string);
        Self { step, place, name }
    }
}
