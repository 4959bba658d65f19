//! `daemon.hello`, `daemon.ping`, `daemon.status`, `daemon.shutdown`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorData;
use crate::generate::{RequestId, is_default};
use crate::models::{Model, ModelId};
use crate::providers::ProviderId;
use crate::turn::Priority;

/// What a client says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Version of the contract it speaks.
    pub protocol: u32,
    /// Its name and version, for the daemon's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// What the daemon speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// Version of the daemon.
    pub version: String,
    /// Newest version of the contract that it speaks.
    pub protocol: u32,
    /// Oldest version of it that it still speaks.
    pub oldest_protocol: u32,
    /// Its process.
    pub pid: u32,
}

impl Welcome {
    /// Whether a client of that version of the contract and this daemon understand each other.
    pub const fn speaks(&self, protocol: u32) -> bool {
        self.oldest_protocol <= protocol && protocol <= self.protocol
    }

    /// Whether it does not yet speak that version.
    pub const fn is_older_than(&self, protocol: u32) -> bool {
        self.protocol < protocol
    }
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pong {
    /// Version of the daemon.
    pub version: String,
    /// Version of the contract it speaks.
    pub protocol: u32,
    /// Its process.
    pub pid: u32,
}

/// What the daemon is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Version of the contract it speaks.
    pub protocol: u32,
    /// Its process.
    pub pid: u32,
    /// Since its start, in milliseconds.
    pub uptime_ms: u64,
    /// Where it listens.
    pub socket: PathBuf,
    /// Where its models are.
    pub models_dir: PathBuf,
    /// Connections now open.
    pub connections: u32,
    /// Memory of the daemon's own process, in bytes; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Models in memory.
    pub residents: Vec<Model>,
    /// Requests that wait or run, oldest first.
    pub requests: Vec<RequestStatus>,
    /// Memory that models take, and whether the machine runs short of it.
    #[serde(default)]
    pub memory: MemoryStatus,
    /// Models whose engines ended by themselves since they last finished a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostEngine>,
    /// Since the start: requests answered, failed and cancelled.
    pub finished: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Models that the configuration has loaded at the start, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preload: Vec<Preload>,
}

/// Memory that models take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryStatus {
    /// Whether the machine runs short.
    pub pressure: Pressure,
    /// One for all models, or one for each engine where a GPU has memory of its own.
    pub pools: Vec<MemoryPool>,
}

/// Memory that models share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryPool {
    /// Whose models.
    pub providers: Vec<ProviderId>,
    /// Bytes that they may take together; 0 where there is no bound.
    pub budget_bytes: u64,
    /// Bytes that they take, or were promised: weights, what is computed with them, what requests may grow to, and kept
    /// prefixes.
    pub held_bytes: u64,
}

/// How short the machine is of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// There is enough, as far as the system tells.
    #[default]
    Calm,
    /// Caches are given back, and background work stands still.
    Soft,
    /// Idle models are unloaded, and new requests are answered `memory_pressure`.
    Hard,
}

/// A model whose engine ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostEngine {
    /// Which.
    pub model: ModelId,
    /// Whose engine.
    pub provider: ProviderId,
    /// How often, since it last finished a request.
    pub count: u32,
    /// Until it is started again, in milliseconds; 0 for at once.
    pub retry_after_ms: u64,
}

/// A model that the configuration has loaded at the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preload {
    /// Which.
    pub model: ModelId,
    /// What came of it. One that was loaded may have left the memory since.
    pub state: PreloadState,
    /// Why it was not loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorData>,
}

/// What came of a model that was to be loaded at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreloadState {
    /// Others come before it.
    Waiting,
    /// It is being loaded.
    Loading,
    /// It was loaded.
    Loaded,
    /// It could not be loaded.
    Failed,
}

/// One request that waits or runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestStatus {
    /// Its id, for `generate.cancel`.
    pub request_id: RequestId,
    /// The caller's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Its model.
    pub model: ModelId,
    /// Its provider.
    #[serde(default)]
    pub provider: ProviderId,
    /// The name of the app that asks.
    #[serde(default)]
    pub app: String,
    /// As it was asked for.
    #[serde(default)]
    pub priority: Priority,
    /// What it is doing.
    pub state: RequestState,
    /// While it waits: waiting requests to its model that begin before it as things stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// Whether it has begun and is held up for an interactive one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,
    /// Since its arrival, in milliseconds.
    pub age_ms: u64,
    /// Tokens generated so far.
    pub completion_tokens: u32,
}

/// What a request is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// Waits for its model to load or for other requests.
    Waiting,
    /// Its prompt is computed.
    Prefill,
    /// Its answer is generated.
    Decode,
}
