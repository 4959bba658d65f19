//! `models.subscribe`: what happens to models, on disk and in memory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorData;
use crate::models::{Model, ModelId};
use crate::pulls::Pull;

/// From where to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribeModels {
    /// The last `seq` that the client has seen: what came after it is sent first. Absent for a client that knows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// What `models.subscribe` sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelEvent {
    /// Grows with every event, over restarts of the daemon too. Numbers are left out where only the latest of a kind
    /// counts, as of progress.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub change: ModelChange,
}

/// What happened to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ModelChange {
    /// Everything as it is now. Sent first to a client that knows nothing, that was away for too long, or that reads too
    /// slowly; it forgets what it knew.
    Current {
        /// As `models.list`.
        models: Vec<Model>,
        /// As `pulls.list`.
        pulls: Vec<Pull>,
    },
    /// A model appeared on disk.
    Added {
        /// It, in whatever condition.
        model: Box<Model>,
    },
    /// Its files changed.
    Changed {
        /// As it is now.
        model: Box<Model>,
    },
    /// Its files are gone. If it is in memory, it serves on until it is unloaded.
    Removed {
        /// Which.
        model: ModelId,
    },
    /// An engine reads its weights.
    Loading {
        /// Which.
        model: ModelId,
        /// Bytes in memory.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// It is warm.
    Loaded {
        /// Which.
        model: ModelId,
    },
    /// It is no longer in memory.
    Unloaded {
        /// Which.
        model: ModelId,
        /// Why.
        reason: UnloadReason,
        /// What went wrong, where something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorData>,
    },
    /// A download went on, ended or was stopped.
    Pull {
        /// As it is now.
        pull: Box<Pull>,
    },
}

/// Why a model is no longer in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnloadReason {
    /// Nobody used it for its keep-alive.
    Idle,
    /// Another model needed its memory.
    Memory,
    /// The machine ran short of memory.
    MemoryPressure,
    /// `models.unload`.
    Requested,
    /// `models.delete`.
    Deleted,
    /// It could not be loaded.
    LoadFailed,
    /// Its engine died.
    EngineLost,
    /// The daemon ends.
    ShuttingDown,
}
