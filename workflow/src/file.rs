//! A workflow as its file says it: the types, and how a text becomes one.
//!
//! The doc comments of the fields are what editors show (see [`schema`]).

mod action;
mod kinds;
mod step;
mod trigger;

use std::collections::BTreeMap;

use protocol::{ModelId, Priority, ProviderId, Tier};
use serde_json::Value;

use crate::node::{self, At, table};
use crate::problem::{Problem, Problems};
use crate::{MOST_FILE_BYTES, check};

pub use action::{
    Action, ApiKey, Body, Conditional, Exists, ForEach, Given, Hmac, Llm, Method, Notify, Output, SaveFile, Shell,
    Transform, Webhook, WorkflowCall,
};
pub use kinds::{Bytes, Mapping, Name, Parallel, Schema, Time};
pub use step::{OnError, Retry, Step, Then};
pub use trigger::{EventKind, EventTrigger, FolderTrigger, Pattern, ScheduleTrigger, Trigger, When, WebhookTrigger};

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
    pub inputs: BTreeMap<String, Input>,
    /// What starts it by itself.
    pub triggers: Vec<Trigger>,
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
        #[schemars(default)]
        pub required: bool,
    }
}

impl Workflow {
    /// Reads a file's text. All that is wrong with it, by place, where it is none.
    pub fn read(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(text);
        let workflow = node::read::<Written>(text, MOST_FILE_BYTES, &mut problems);
        let workflow = workflow.map(|written| written.named(name));
        if let Some(workflow) = &workflow {
            check::whole(workflow, &mut problems);
        }
        problems.or(workflow)
    }

    /// The names that a run may be given.
    pub fn input_names(&self) -> Vec<&str> {
        todo!()
    }

    /// What is wrong with what a run is given: what is missing, and what is unknown, each with the way out.
    pub fn input_problems<'a>(&self, _given: impl Iterator<Item = &'a str>) -> Vec<String> {
        todo!()
    }

    /// The workflows that it calls, each once.
    pub fn calls(&self) -> Vec<&str> {
        todo!()
    }

    /// Every step, those inside others too, each before those inside it.
    pub fn all_steps(&self) -> Vec<&Step> {
        todo!()
    }
}
