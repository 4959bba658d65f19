//! Errors on the wire: every kind, its code, and whose fault it is.
//!
//! The codes of JSON-RPC itself (-32700, -32600 to -32603) and those of its transport (-32006 too many
//! subscriptions, -32007 message too long, -32010 batch too long) keep their meaning. Ours are positive, in ranges
//! that say who can mend it; numbers are never used again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong, as a caller branches on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A parameter is missing, unknown, of the wrong type or out of its range.
    InvalidParams,
    /// No such model is installed.
    ModelNotFound,
    /// The model is installed, but its files are missing, damaged or contradict each other.
    ModelBroken,
    /// The model or the file is sound, but nothing here can run or read it.
    NotSupported,
    /// Prompt and `max_tokens` together exceed the model's context; `data` has both numbers.
    ContextOverflow,
    /// A file could not be made into a model.
    ImportFailed,
    /// The model is in use and was not forced out.
    ModelInUse,
    /// A model of that id is installed already.
    ModelExists,
    /// The request was cancelled, by this or another client, before it had a result.
    Cancelled,
    /// No download of that model is known.
    PullNotFound,
    /// The hub has no such repository or revision, or does not show it without a token.
    RepositoryNotFound,
    /// The hub does not let this user have it: its terms must be accepted, or a token given that may read it.
    AccessDenied,
    /// No such provider is known.
    ProviderNotFound,
    /// The provider has no key.
    NotConfigured,
    /// The provider does not take the key that it has.
    KeyRefused,
    /// The policy `local_only` keeps everything on this machine.
    NotAllowed,
    /// The model, or what a request may grow to, is more than the memory that models may take; the message has both numbers.
    ModelTooLarge,
    /// No such workflow lies in the folder.
    WorkflowNotFound,
    /// The workflow's file has problems, or does not fit what it was given.
    WorkflowInvalid,
    /// No such run is known.
    RunNotFound,
    /// The configuration of the daemon is wrong.
    ConfigurationError,
    /// The engine reported a failure of its own.
    GenerationFailed,
    /// The disk has no room; the message has both numbers.
    DiskFull,
    /// A file or folder of the daemon cannot be read, written or removed.
    StorageFailed,
    /// What the hub sent is not what it says it has.
    DownloadDamaged,
    /// Something in the daemon failed that should not.
    Internal,
    /// The queue is full; try again after `retry_after_ms`.
    Busy,
    /// The engine died in the middle; the next request starts another.
    EngineLost,
    /// The daemon is ending and takes no more requests.
    ShuttingDown,
    /// The client did not read its stream for too long, so its request was ended.
    SlowConsumer,
    /// The hub cannot be reached, or fails, or has had enough for now.
    HubUnavailable,
    /// The provider has had enough requests for now; try again after `retry_after_ms`, where it says when.
    QuotaExhausted,
    /// The provider cannot be reached, fails, or sends what is no answer.
    ProviderUnavailable,
    /// The machine runs short of memory; try again after `retry_after_ms`.
    MemoryPressure,
    /// The request waited for longer than its `queue_timeout_ms`, or its `deadline_ms` were over before it had a result.
    Timeout,
}

/// Who can mend an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller: the same request fails again.
    Caller,
    /// The daemon or the machine.
    Ours,
    /// Nobody: the same request may succeed later.
    TryLater,
}

impl Kind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Self; 35] = [
        Self::InvalidParams,
        Self::ModelNotFound,
        Self::ModelBroken,
        Self::NotSupported,
        Self::ContextOverflow,
        Self::ImportFailed,
        Self::ModelInUse,
        Self::ModelExists,
        Self::Cancelled,
        Self::PullNotFound,
        Self::RepositoryNotFound,
        Self::AccessDenied,
        Self::ProviderNotFound,
        Self::NotConfigured,
        Self::KeyRefused,
        Self::NotAllowed,
        Self::ModelTooLarge,
        Self::WorkflowNotFound,
        Self::WorkflowInvalid,
        Self::RunNotFound,
        Self::ConfigurationError,
        Self::GenerationFailed,
        Self::DiskFull,
        Self::StorageFailed,
        Self::DownloadDamaged,
        Self::Internal,
        Self::Busy,
        Self::EngineLost,
        Self::ShuttingDown,
        Self::SlowConsumer,
        Self::HubUnavailable,
        Self::QuotaExhausted,
        Self::ProviderUnavailable,
        Self::Timeout,
        Self::MemoryPressure,
    ];

    /// The code on the wire.
    pub const fn code(self) -> i32 {
        match self {
            Self::InvalidParams => -32602,
            Self::ModelNotFound => 1001,
            Self::ModelBroken => 1002,
            Self::NotSupported => 1003,
            Self::ContextOverflow => 1004,
            Self::ImportFailed => 1005,
            Self::ModelInUse => 1006,
            Self::ModelExists => 1007,
            Self::Cancelled => 1008,
            Self::PullNotFound => 1009,
            Self::RepositoryNotFound => 1010,
            Self::AccessDenied => 1011,
            Self::ProviderNotFound => 1012,
            Self::NotConfigured => 1013,
            Self::KeyRefused => 1014,
            Self::NotAllowed => 1015,
            Self::ModelTooLarge => 1016,
            Self::WorkflowNotFound => 1017,
            Self::WorkflowInvalid => 1018,
            Self::RunNotFound => 1019,
            Self::ConfigurationError => 2001,
            Self::GenerationFailed => 2002,
            Self::DiskFull => 2003,
            Self::StorageFailed => 2004,
            Self::DownloadDamaged => 2005,
            Self::Internal => -32603,
            Self::Busy => 3001,
            Self::EngineLost => 3002,
            Self::ShuttingDown => 3003,
            Self::SlowConsumer => 3004,
            Self::HubUnavailable => 3005,
            Self::QuotaExhausted => 3006,
            Self::ProviderUnavailable => 3007,
            Self::Timeout => 3008,
            Self::MemoryPressure => 3009,
        }
    }

    /// The kind of a code; `None` for codes of JSON-RPC's own layers and of newer daemons.
    pub fn of_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Who can mend it.
    pub const fn fault(self) -> Fault {
        match self {
            Self::InvalidParams
            | Self::ModelNotFound
            | Self::ModelBroken
            | Self::NotSupported
            | Self::ContextOverflow
            | Self::ImportFailed
            | Self::ModelInUse
            | Self::ModelExists
            | Self::Cancelled
            | Self::PullNotFound
            | Self::RepositoryNotFound
            | Self::AccessDenied
            | Self::ProviderNotFound
            | Self::NotConfigured
            | Self::KeyRefused
            | Self::NotAllowed
            | Self::ModelTooLarge
            | Self::WorkflowNotFound
            | Self::WorkflowInvalid
            | Self::RunNotFound => Fault::Caller,
            Self::ConfigurationError
            | Self::GenerationFailed
            | Self::DiskFull
            | Self::StorageFailed
            | Self::DownloadDamaged
            | Self::Internal => Fault::Ours,
            Self::Busy
            | Self::EngineLost
            | Self::ShuttingDown
            | Self::SlowConsumer
            | Self::HubUnavailable
            | Self::QuotaExhausted
            | Self::ProviderUnavailable
            | Self::Timeout
            | Self::MemoryPressure => Fault::TryLater,
        }
    }
}

/// The `data` of an error object, and with `message` the whole error inside a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorData {
    /// What went wrong.
    pub kind: Kind,
    /// One sentence that names the thing and the way out.
    pub message: String,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Requests that wait before this one would, for `busy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_length: Option<u32>,
    /// Tokens that prompt and `max_tokens` need, for `context_overflow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_tokens: Option<u64>,
    /// Tokens the model can hold, for `context_overflow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Memory that the model or the request needs, in bytes, for `model_too_large`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_bytes: Option<u64>,
    /// Memory that it may have, in bytes, for `model_too_large`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
}

impl ErrorData {
    /// An error without numbers.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            message,
            retry_after_ms: None,
            queue_length: None,
            needed_tokens: None,
            context_length: None,
            needed_bytes: None,
            available_bytes: None,
        }
    }
}
