//! The names that a template sees, and their values.

use std::collections::BTreeMap;

use jiff::Zoned;
use minijinja::value::Serde;
use serde_json::Value;

/// The transcript a run works on.
pub const TRANSCRIPT: &str = "TRANSCRIPT";
/// What it is called.
pub const TITLE: &str = "TITLE";
/// The path of the file that began the run.
pub const FILE: &str = "FILE";
/// The folder it lies in.
pub const DIRECTORY: &str = "DIRECTORY";
/// The event that began the run.
pub const EVENT: &str = "EVENT";
/// The output of the step before.
pub const PREVIOUS_OUTPUT: &str = "PREVIOUS_OUTPUT";

/// What a caller may give besides the workflow's own inputs.
pub const GIVABLE: [&str; 4] = [TRANSCRIPT, TITLE, FILE, DIRECTORY];

/// Every name that is no input and no output.
pub const BUILT_IN: [&str; 10] =
    [TRANSCRIPT, TITLE, FILE, DIRECTORY, EVENT, PREVIOUS_OUTPUT, "DATE", "DATETIME", "RUN", "WORKFLOW"];

/// What a run begins with.
#[derive(Debug)]
pub struct Start<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The workflow's name.
    pub workflow: &'a str,
    /// When it began.
    pub time: &'a Zoned,
    /// What happened, of a run that an event began.
    pub event: Option<&'a Value>,
}

/// The names that a template sees, and their values. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    values: BTreeMap<String, minijinja::Value>,
}

impl Scope {
    /// Of a run that begins: RUN, WORKFLOW, DATE, DATETIME and perhaps EVENT.
    pub fn new(start: &Start) -> Self {
        let mut scope = Self::default();
        let texts = [
            ("RUN", start.run.to_owned()),
            ("WORKFLOW", start.workflow.to_owned()),
            ("DATE", start.time.date().to_string()),
            // RFC 3339 with the offset, to the second.
            ("DATETIME", start.time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()),
        ];
        for (name, text) in texts {
            scope.set(name, &Value::String(text));
        }
        if let Some(event) = start.event {
            scope.set(EVENT, event);
        }
        scope
    }

    /// Gives a name a value.
    pub fn set(&mut self, name: &str, value: &Value) {
        self.values.insert(name.to_owned(), minijinja::Value::from(Serde(value)));
    }

    /// Takes a name's value away.
    pub fn unset(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Whether the name has a value.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The names that have a value.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.values.keys().map(String::as_str)
    }

    pub(crate) fn context(&self) -> minijinja::Value {
        minijinja::Value::from_pairs(self.values.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }

    pub(crate) fn value(&self, name: &str) -> Option<&minijinja::Value> {
        self.values.get(name)
    }
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
