//! `pulls.start`, `pulls.list`, `pulls.pause`, `pulls.resume`, `pulls.cancel`, `pulls.subscribe`: downloads.
//!
//! A pull is the daemon's: it goes on when the client that asked for it is gone, and after the daemon was killed. It is
//! named by its model, so that two apps that want one model share one pull.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorData;
use crate::models::ModelId;

/// Which model to download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartPull {
    /// Its id on the hub.
    pub model: ModelId,
    /// Branch, tag or commit; `main` when absent. What it names now is what is downloaded, whatever it names later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Which pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullRef {
    /// Its model.
    pub model: ModelId,
}

/// Which pulls to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribePulls {
    /// That of this model, until it is done, failed, paused or cancelled; all of them, without end, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
}

/// All pulls that are not over, and those that failed or were paused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PullList {
    /// In the order of their start.
    pub pulls: Vec<Pull>,
}

/// One download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pull {
    /// What is downloaded; names the pull.
    pub model: ModelId,
    /// What it is doing.
    pub state: PullState,
    /// The commit, once the hub has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Bytes on disk; never falls.
    pub done_bytes: u64,
    /// Bytes in all; known before the first is downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Bytes downloaded again because the first ones were wrong; not in `done_bytes`.
    pub refetched_bytes: u64,
    /// Of the last seconds; absent while nothing is downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Until the end at that rate, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_left_ms: Option<u64>,
    /// When a failed attempt is repeated, in milliseconds; absent while there is none to repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The files, largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PullFile>,
    /// Why it failed, or why the attempt failed that is about to be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorData>,
}

/// One file of a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullFile {
    /// Its name.
    pub path: String,
    /// Bytes on disk.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Whether its hash was found to be right.
    pub verified: bool,
}

/// What a pull is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullState {
    /// Waits for others.
    Queued,
    /// Asks the hub which files there are.
    Planning,
    /// Downloads.
    Downloading,
    /// Has every byte and looks whether they are right.
    Verifying,
    /// Moves the files to their place.
    Installing,
    /// The model is installed.
    Done,
    /// Waits for `pulls.resume`; what it has is kept.
    Paused,
    /// Cannot go on; what it has is kept, and `pulls.resume` tries again.
    Failed,
    /// Was given up; what it had is gone.
    Cancelled,
}

impl PullState {
    /// Whether nothing more happens by itself.
    pub const fn is_at_rest(self) -> bool {
        matches!(self, Self::Done | Self::Paused | Self::Failed | Self::Cancelled)
    }
}

/// What `pulls.subscribe` sends: a pull as it is now. First one for each pull there is, then at each change of state and
/// a few times a second while bytes come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PullEvent {
    /// The pull.
    pub pull: Pull,
}
