//! What starts a workflow by itself.

use std::time::Duration;

use super::kinds::{Bytes, Time};
use crate::node::{At, table, words};
use crate::schedule::Cron;

/// What starts a workflow by itself.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// A file that appears.
    Folder(FolderTrigger),
    /// A time.
    Schedule(ScheduleTrigger),
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
        /// Which files, by their names: `*` is any characters, `?` one.
        #[schemars(default)]
        pub pattern: Pattern,
        /// How long a file's size must stay as it is.
        pub settle: Option<Time>,
        /// The largest file, as 500000 or "500k"; at most, and by default, 1 MiB.
        pub most_bytes: Option<Bytes>,
    }
}

/// When a workflow starts by itself.
#[derive(Debug, Clone)]
pub struct ScheduleTrigger {
    /// When.
    pub when: When,
}

/// Times.
#[derive(Debug, Clone)]
pub enum When {
    /// By the calendar.
    Cron(Cron),
    /// After each such time.
    Every(Duration),
}

table! {
    /// What happens in the daemon. Gives EVENT.
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
    }
}

/// Names of files.
#[derive(Debug, Clone)]
pub struct Pattern(pub glob::Pattern);
