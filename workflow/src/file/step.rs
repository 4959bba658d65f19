//! One step: what all kinds have in common.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use toml::de::DeValue;

use super::action::{
    Action, Conditional, Exists, ForEach, Llm, Notify, SaveFile, Shell, Transform, Webhook, WorkflowCall,
};
use super::kinds::{Time, whole};
use crate::declare::table;
use crate::node::{At, FromToml, Node, Table, word, wrong};
use crate::problem::{Problems, listed};
use crate::template::{Expression, Template};
use crate::{DEEPEST, MOST_STEPS};

/// The keys of which a step has exactly one.
const KINDS: [&str; 9] =
    ["llm", "shell", "webhook", "save_file", "transform", "conditional", "for_each", "workflow", "notify"];

/// Most further tries of a step.
const MOST_RETRIES: u32 = 20;

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

table! {
    /// One step. It has exactly one of `llm`, `shell`, `webhook`, `save_file`, `transform`, `conditional`, `for_each`,
    /// `workflow` and `notify`.
    pub struct StepKeys {
        /// Its name for `goto`: letters, digits, - and _, a letter first; no other step has it.
        pub name: Option<At<String>>,
        /// The name of its output in templates: letters, digits and _.
        pub output_key: Option<At<String>>,
        /// An expression; the step is skipped where it is not true.
        pub when: Option<Expression>,
        /// What follows when it fails: "stop" (the run fails, which is usual), "skip" (the run goes on), { goto = "NAME" }, or
        /// { retry = … } before one of these.
        pub on_error: OnError = OnError::default(),
        /// Whether it may be done again when a crash leaves open whether it was done. Usually: llm, transform, conditional,
        /// `for_each`, workflow, and `save_file` that replaces or fails.
        pub idempotent: Option<bool>,
        /// How long it may take: seconds, or as "5m".
        pub timeout: Option<Time>,
        /// Asks a model.
        pub llm: Option<Llm>,
        /// Runs a program. The settings must allow it.
        pub shell: Option<Shell>,
        /// Sends a request to a server.
        pub webhook: Option<Webhook>,
        /// Writes a file.
        pub save_file: Option<SaveFile>,
        /// Takes a value apart or puts it together.
        pub transform: Option<Transform>,
        /// Goes one of two ways.
        pub conditional: Option<Conditional>,
        /// Does steps for each item of a list.
        pub for_each: Option<ForEach>,
        /// Runs another workflow.
        pub workflow: Option<WorkflowCall>,
        /// Tells the user.
        pub notify: Option<Notify>,
    }
}

impl FromToml for Step {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::of(node, problems)?;
        problems.steps += 1;
        if problems.steps == MOST_STEPS + 1 {
            problems.add(table.at(), format!("a workflow has at most {MOST_STEPS} steps; call another for the rest"));
        }
        if problems.steps > MOST_STEPS {
            return None;
        }
        if problems.depth >= DEEPEST {
            let words = format!("steps lie at most {DEEPEST} deep in each other; call another workflow instead");
            problems.add(table.at(), words);
            return None;
        }
        let before = problems.count();
        problems.depth += 1;
        let keys = StepKeys::take(&mut table, problems);
        problems.depth -= 1;
        let (at, kinds) = (table.at(), KINDS.into_iter().filter(|kind| table.has(kind)).collect::<Vec<_>>());
        match &*kinds {
            [] if !table.has_unknown() => {
                let words = format!("this step does nothing; it needs one of {}", listed(&KINDS));
                problems.add(at, words);
            }
            [_, _, ..] => {
                let words = format!("a step does one thing, but this has {}; make a step of each", listed(&kinds));
                problems.add(at, words);
            }
            _ => {}
        }
        table.end(problems);
        problems.note_broken(at, before);
        keys.map(|keys| keys.step(at, problems))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }
}

impl JsonSchema for Step {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = StepKeys::json_schema(generator);
        schema.insert("oneOf".into(), KINDS.iter().map(|kind| json!({ "required": [kind] })).collect());
        schema
    }
}

impl StepKeys {
    fn step(self, at: usize, problems: &mut Problems) -> Step {
        for name in [&self.name, &self.output_key].into_iter().flatten() {
            problems.note(name);
        }
        let boxed = [
            self.llm.map(|llm| Action::Llm(Box::new(llm))),
            self.shell.map(|shell| Action::Shell(Box::new(shell))),
            self.webhook.map(|webhook| Action::Webhook(Box::new(webhook))),
            self.save_file.map(Action::SaveFile),
            self.transform.map(|transform| Action::Transform(Box::new(transform))),
            self.conditional.map(Action::Conditional),
            self.for_each.map(Action::ForEach),
            self.workflow.map(Action::Workflow),
            self.notify.map(Action::Notify),
        ];
        // One that could not be read is a problem already; its name and its output still count.
        let unreadable = || Action::Notify(Notify { title: None, text: Template::default() });
        let action = boxed.into_iter().flatten().next().unwrap_or_else(unreadable);
        Step {
            name: self.name,
            output_key: self.output_key,
            when: self.when,
            on_error: self.on_error,
            idempotent: self.idempotent.unwrap_or_else(|| action.is_idempotent()),
            timeout: self.timeout.map(|time| time.0),
            action,
            at,
        }
    }
}

impl Action {
    /// Whether doing it twice is usually as good as once.
    fn is_idempotent(&self) -> bool {
        match self {
            Self::Shell(_) | Self::Webhook(_) | Self::Notify(_) => false,
            Self::SaveFile(save_file) => !matches!(save_file.exists, Exists::Append | Exists::Number),
            _ => true,
        }
    }
}

/// How often a step may be tried again.
#[derive(Debug, Clone, Copy)]
pub struct Times(u32);

impl FromToml for Times {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        whole(node, 1, MOST_RETRIES, problems).map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST_RETRIES })
    }
}

table! {
    /// How often a step is tried again.
    pub struct RetryKeys {
        /// At most so often, beside the first time; 1 to 20.
        pub times: Times,
        /// How long is waited before the first further try: seconds, or as "2s". Doubles with each. Usually 1s.
        pub wait: Time = Time(Duration::from_secs(1)),
        /// The longest wait. Usually 60s.
        pub most_wait: Time = Time(Duration::from_mins(1)),
        /// What comes after the last try: "stop" (which is usual), "skip" or { goto = "NAME" }.
        pub then: Then = Then::Stop,
    }
}

table! {
    /// Where a run goes on.
    pub struct GotoKeys {
        /// The name of a step of the same list.
        pub goto: At<String>,
    }
}

table! {
    /// How often a step is tried again.
    pub struct AgainKeys {
        /// How often, and what comes then.
        pub retry: RetryKeys,
    }
}

impl FromToml for Then {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(_) => word(node, &[("stop", 0), ("skip", 1)], problems)
                .map(|index| if index == 0 { Self::Stop } else { Self::Skip }),
            DeValue::Table(_) => GotoKeys::read(node, problems).map(|keys| Self::Goto(keys.goto)),
            _ => {
                wrong(node, "must be \"stop\", \"skip\" or { goto = \"NAME\" }", problems);
                None
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "enum": ["stop", "skip"] }, generator.subschema_for::<GotoKeys>()] })
    }
}

impl FromToml for OnError {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let is_again = node.get_ref().get("retry").is_some();
        if !is_again {
            return Then::read(node, problems).map(|then| Self { retry: None, then });
        }
        let RetryKeys { times, wait, most_wait, then } = AgainKeys::read(node, problems)?.retry;
        Some(Self { retry: Some(Retry { times: times.0, wait: wait.0, most_wait: most_wait.0 }), then })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "enum": ["stop", "skip"] },
            generator.subschema_for::<GotoKeys>(),
            generator.subschema_for::<AgainKeys>(),
        ] })
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
