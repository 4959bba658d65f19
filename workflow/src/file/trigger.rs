//! What starts a workflow by itself.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::kinds::{Bytes, Time};
use crate::MOST_OUTPUT_BYTES;
use crate::declare::{table, words};
use crate::node::{At, FromToml, Node, Table, text};
use crate::problem::{Problems, listed, quote};
use crate::schedule::{Cron, When};

/// The keys of which a trigger has exactly one.
const KINDS: [&str; 4] = ["folder", "schedule", "event", "webhook"];

/// What starts a workflow by itself.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// A file that appears.
    Folder(FolderTrigger),
    /// A time.
    Schedule(When),
    /// What happens in the daemon.
    Event(EventTrigger),
    /// A request: `POST /workflows/NAME`.
    Webhook(WebhookTrigger),
}

table! {
    /// A file that appears in a folder and is complete. Gives TRANSCRIPT (its text), TITLE (its name without the ending),
    /// FILE and DIRECTORY.
    pub struct FolderTrigger {
        /// The folder: absolute, or from `~/` on.
        pub path: At<String>,
        /// Which files, by their names: `*` is any characters, `?` one. Usually all whose names begin with no dot.
        pub pattern: Pattern = Pattern::all(),
        /// How long a file's size must stay as it is: seconds, or as "2s", which is usual.
        pub settle: Time = Time(Duration::from_secs(2)),
        /// The largest file, as 500000 or "500k"; at most and usually 1 MiB.
        pub most_bytes: Bytes = Bytes(MOST_OUTPUT_BYTES as u64),
    }
}

table! {
    /// What happens in the daemon. Gives EVENT, an object.
    pub struct EventTrigger {
        /// Which events start it.
        pub on: Vec<EventKind>,
    }
}

table! {
    /// A request, `POST /workflows/NAME`, with `Authorization: Bearer` and a secret.
    pub struct WebhookTrigger {
        /// The secret's name.
        pub token: At<String>,
    }
}

words! {
    /// What happens in the daemon.
    pub enum EventKind {
        /// A model is on the disk.
        ModelAdded = "model_added",
        /// Files of a model are others.
        ModelChanged = "model_changed",
        /// A model is gone from the disk.
        ModelRemoved = "model_removed",
        /// A model is in memory.
        ModelLoaded = "model_loaded",
        /// A model is no more in memory.
        ModelUnloaded = "model_unloaded",
        /// A download is done.
        PullFinished = "pull_finished",
        /// A download failed.
        PullFailed = "pull_failed",
        /// The machine is short of memory.
        MemoryPressure = "memory_pressure",
        /// A run of a workflow is at rest. Only hooks follow it.
        RunEnded = "run_ended",
    }
}

table! {
    /// What starts the workflow by itself. It has exactly one of `folder`, `schedule`, `event` and `webhook`.
    pub struct TriggerKeys {
        /// A file that appears.
        pub folder: Option<FolderTrigger>,
        /// A time. One that passed while talkied did not run, or the machine slept, starts one run afterwards.
        pub schedule: Option<When>,
        /// What happens in the daemon.
        pub event: Option<EventTrigger>,
        /// A request.
        pub webhook: Option<WebhookTrigger>,
    }
}

impl FromToml for Trigger {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::of(node, problems)?;
        let before = problems.count();
        let keys = TriggerKeys::take(&mut table, problems)?;
        let (at, kinds) = (table.at(), KINDS.into_iter().filter(|kind| table.has(kind)).collect::<Vec<_>>());
        match &*kinds {
            [] if !table.has_unknown() => {
                problems.add(at, format!("this trigger never starts anything; it needs one of {}", listed(&KINDS)));
            }
            [_, _, ..] => {
                let words =
                    format!("a trigger is one thing, but this has {}; make a [[trigger]] of each", listed(&kinds));
                problems.add(at, words);
            }
            _ => {}
        }
        table.end(problems);
        problems.note_broken(at, before);
        let TriggerKeys { folder, schedule, event, webhook } = keys;
        let schedule = schedule.map(Self::Schedule);
        folder.map(Self::Folder).or(schedule).or(event.map(Self::Event)).or(webhook.map(Self::Webhook))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }
}

impl JsonSchema for Trigger {
    fn schema_name() -> Cow<'static, str> {
        "Trigger".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = TriggerKeys::json_schema(generator);
        schema.insert("oneOf".into(), KINDS.iter().map(|kind| json!({ "required": [kind] })).collect());
        schema
    }
}

table! {
    /// A time: exactly one of `cron` and `every`.
    pub struct WhenKeys {
        /// Minute, hour, day of the month, month and day of the week, as crontab has them: "0 7 * * 1-5". In the user's time
        /// zone.
        pub cron: Option<Cron>,
        /// After each such time: seconds, or as "1h".
        pub every: Option<Time>,
    }
}

impl FromToml for When {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let WhenKeys { cron, every } = WhenKeys::read(node, problems)?;
        let given = |key| node.get_ref().get(key).is_some();
        if given("cron") == given("every") {
            let words = "a schedule has either `cron` or `every`: { cron = \"0 7 * * 1-5\" } or { every = \"1h\" }";
            problems.add(node.span().start, words);
        }
        cron.map(Self::Cron).or(every.map(|every| Self::Every(every.0)))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<WhenKeys>()
    }
}

impl FromToml for Cron {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let written = text(node, "must be a text such as \"0 7 * * 1-5\"", problems)?;
        let cron = Self::new(written);
        cron.map_err(|why| problems.add(node.span().start, why)).ok()
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["0 7 * * 1-5", "*/15 * * * *"] })
    }
}

/// Names of files.
#[derive(Debug, Clone)]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// Every file whose name begins with no dot.
    fn all() -> Self {
        Self(glob::Pattern::new("*").expect("a star is a pattern"))
    }

    /// As it is written.
    pub fn written(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a file of this name is meant. A dot at the beginning must be written out.
    pub fn matches(&self, name: &str) -> bool {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        self.0.matches_with(name, options)
    }
}

impl FromToml for Pattern {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let written = text(node, "must be a text such as \"*.txt\"", problems)?;
        if written.contains('/') {
            let words = format!("the pattern {} has a slash; it is of names, and `path` is the folder", quote(written));
            problems.add(node.span().start, words);
        }
        let pattern = glob::Pattern::new(written);
        let tell =
            |error: glob::PatternError| problems.add(node.span().start, format!("this pattern is none: {}", error.msg));
        pattern.map(Self).map_err(tell).ok()
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["*.txt"] })
    }
}

#[cfg(test)]
#[path = "trigger_tests.rs"]
mod tests;
