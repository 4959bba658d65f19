//! A workflow as its file says it: the types, and how a text becomes one.
//!
//! The doc comments of the fields are what editors show (see [`schema`]).

mod action;
mod kinds;
mod path;
mod step;
mod trigger;
mod wire;

use std::collections::BTreeMap;

use protocol::{ModelId, Priority, ProviderId, Tier};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::declare::table;
use crate::node::{self, At};
use crate::problem::{Problem, Problems, listed, way_out};
use crate::scope::GIVABLE;
use crate::{MOST_FILE_BYTES, check, template};

pub use action::{
    Action, ApiKey, Conditional, Exists, ForEach, Given, Hmac, Llm, Method, Notify, Output, SaveFile, Shell, Transform,
    Webhook, WorkflowCall,
};
pub use kinds::{Bytes, Mapping, Parallel, Schema, Time};
pub use path::{Group, Pointer, Regex};
pub use step::{OnError, Retry, Step, Then};
pub use trigger::{EventKind, EventTrigger, FolderTrigger, Pattern, Trigger, WebhookTrigger};

/// A checked workflow.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Its name: its file's, without `.toml`.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The model of its llm steps that name none.
    pub model: Option<ModelId>,
    /// The provider of its llm steps that name none.
    pub provider: Option<ProviderId>,
    /// The tier of its llm steps that name none.
    pub tier: Option<Tier>,
    /// The priority of its llm steps that name none.
    pub priority: Priority,
    /// What it may be given besides TRANSCRIPT, TITLE, FILE and DIRECTORY, and what it must be given.
    pub inputs: BTreeMap<String, At<Input>>,
    /// What starts it by itself.
    pub triggers: Vec<At<Trigger>>,
    /// What it does, in this order. At least one.
    pub steps: Vec<Step>,
}

table! {
    /// What a workflow may be given.
    pub struct Input {
        /// What it is for.
        pub description: Option<String>,
        /// Its value where none is given; of any type.
        pub default: Option<Value>,
        /// Whether a run cannot begin without it. Not together with `default`.
        pub required: bool = false,
    }
}

table! {
    /// A workflow of talkied: what starts it, and what it does.
    pub struct WorkflowKeys {
        /// What it is for.
        pub description: Option<String>,
        /// The model of its llm steps that name none, by its id alone or as `provider/model`.
        pub model: Option<ModelId>,
        /// The provider of its llm steps that name none.
        pub provider: Option<ProviderId>,
        /// How much the answers of its llm steps may cost, instead of `model` and `provider`.
        pub tier: Option<Tier>,
        /// Whose turn it is where not all can be served at once. Usually "background".
        pub priority: Priority = Priority::Background,
        /// What it may be given, by name, besides TRANSCRIPT, TITLE, FILE and DIRECTORY.
        pub inputs: Mapping<At<Input>> = Mapping::default(),
        /// What starts it by itself. It can be run by hand in any case.
        pub triggers: Vec<At<Trigger>> as "trigger" = Vec::new(),
        /// What it does, in this order.
        pub steps: Vec<Step> as "step",
    }
}

/// Whether a file of this name, without `.toml`, is a workflow: 1 to 64 letters, digits, - and _.
pub fn is_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(is_of_name)
}

/// The JSON Schema of a file, for editors, in the draft that they know.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<WorkflowKeys>();
    schema.insert("title".into(), "A workflow of talkied".into());
    schema.to_value()
}

impl Workflow {
    /// Reads a file's text. All that is wrong with it, by place, where it is none.
    pub fn read(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let read = template::with_room(|| Self::read_here(name, text));
        read.unwrap_or_else(|error| Err(vec![Problem { line: 1, column: 1, message: error.to_string() }]))
    }

    fn read_here(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(text);
        let keys = node::read::<WorkflowKeys>(text, MOST_FILE_BYTES, &mut problems);
        let workflow = keys.map(|keys| Self::of(name, keys));
        if let Some(workflow) = &workflow {
            check::whole(workflow, &mut problems);
        }
        problems.or(workflow)
    }

    fn of(name: &str, keys: WorkflowKeys) -> Self {
        let WorkflowKeys { description, model, provider, tier, priority, inputs, triggers, steps } = keys;
        Self { name: name.to_owned(), description, model, provider, tier, priority, inputs: inputs.0, triggers, steps }
    }

    /// The names of what a run may be given.
    pub fn input_names(&self) -> Vec<&str> {
        let own = self.inputs.keys().map(String::as_str);
        let others = GIVABLE.into_iter().filter(|name| !self.inputs.contains_key(*name));
        own.chain(others).collect()
    }

    /// The names of what a run must be given and is not.
    pub fn missing_inputs<'a>(&self, given: impl Iterator<Item = &'a str>) -> Vec<&str> {
        let given: Vec<&str> = given.collect();
        let required = self.inputs.iter().filter(|(_, input)| input.required).map(|(name, _)| name.as_str());
        required.filter(|name| !given.contains(name)).collect()
    }

    /// What is wrong with what a run is given, in words: what is missing, and what is unknown.
    pub fn input_problems<'a>(&self, given: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
        let missing = self.missing_inputs(given.clone());
        let missing = (!missing.is_empty()).then(|| {
            let example = missing.iter().map(|name| format!("{name}=…")).collect::<Vec<_>>().join(" ");
            format!("the workflow `{}` must be given {}: {example}", self.name, listed(&missing))
        });
        let names = self.input_names();
        let unknown = given.filter(|name| !names.contains(name)).map(|name| {
            let way_out = way_out(name, names.iter().copied());
            format!("the workflow `{}` has no input `{name}`{way_out}", self.name)
        });
        missing.into_iter().chain(unknown).collect()
    }

    /// Every step, each before those inside it.
    pub fn all_steps(&self) -> Vec<&Step> {
        let mut found = Vec::new();
        let mut left: Vec<&Step> = self.steps.iter().rev().collect();
        while let Some(step) = left.pop() {
            found.push(step);
            left.extend(step.action.steps().into_iter().rev());
        }
        found
    }

    /// Its calls of other workflows.
    pub fn calls(&self) -> Vec<&WorkflowCall> {
        let calls = self.all_steps().into_iter().filter_map(|step| match &step.action {
            Action::Workflow(call) => Some(call),
            _ => None,
        });
        calls.collect()
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
