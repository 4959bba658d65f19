//! The contract of talkied: methods, types and errors of its JSON-RPC 2.0 interface over one Unix socket.
//!
//! No I/O happens here; the daemon and its clients share these types. In reading order: [`rpc`] declares the
//! methods, [`generate`], [`message`], [`options`], [`mod@format`], [`tools`], [`turn`], [`embeddings`], [`models`], [`events`],
//! [`storage`], [`catalogue`], [`pulls`], [`providers`], [`secrets`], [`usage`], [`workflows`], [`runs`], [`config`], [`metrics`] and [`status`] their parameters and results, [`error`] the codes, [`openrpc`] describes all of it to programs, [`paths`] says where the
//! socket and the models are.
//!
//! `README.md` beside this crate is the reference of the wire; its examples are run as tests.

pub mod catalogue;
pub mod config;
pub mod embeddings;
pub mod error;
pub mod events;
pub mod format;
pub mod generate;
pub mod message;
pub mod metrics;
pub mod models;
mod named;
pub mod openrpc;
pub mod options;
pub mod paths;
pub mod providers;
pub mod pulls;
#[cfg(any(feature = "server", feature = "client"))]
pub mod rpc;
pub mod runs;
pub mod secrets;
pub mod status;
pub mod storage;
pub mod tools;
pub mod turn;
pub mod usage;
pub mod workflows;

pub use catalogue::{Catalogue, CatalogueEntry, CatalogueSource};
pub use config::{Configuration, Reloaded, Setting, SettingSource};
pub use embeddings::{EmbeddingsRequest, EmbeddingsResult, Pooling};
pub use error::{ErrorData, Kind};
pub use events::{ModelChange, ModelEvent, SubscribeModels, UnloadReason};
pub use format::ResponseFormat;
pub use generate::{
    CancelRequest, Cancelled, FinishReason, GenerateEvent, GenerateRequest, GenerateResult, RequestId, Sample, Timings,
    TokenCount, TokenLogprob, TokenLogprobs, Usage,
};
pub use message::{Message, Role};
pub use metrics::{Bucket, Histogram, Metrics, ModelMetrics, PullMetrics, RequestMetrics, ResidentMetrics};
pub use models::{
    Capability, LoadModel, Model, ModelId, ModelList, ModelRef, ModelSource, ModelState, ModelType, Quantization,
    Residency, ResidencyState, Unloaded,
};
pub use options::{GenerationOptions, KeepAlive, Speculation};
pub use providers::{
    Availability, ConfigureProvider, Key, KeyStatus, PassedOver, Provider, ProviderCapabilities, ProviderId,
    ProviderKind, ProviderList, ProviderRef, ProviderTest, RemovedProvider, Tier, Unavailable,
};
pub use pulls::{Pull, PullEvent, PullFile, PullList, PullRef, PullState, StartPull, SubscribePulls};
pub use runs::{
    ListRuns, OpenStep, ResumeRun, Run, RunChange, RunDetails, RunEntry, RunEvent, RunId, RunList, RunRef, RunState,
    ShowRun, SubscribeRuns,
};
pub use secrets::{RemovedSecret, Secret, SecretList, SecretName, SecretRef, SetSecret};
pub use status::{
    Hello, LostEngine, MemoryPool, MemoryStatus, Pong, Preload, PreloadState, Pressure, RequestState, RequestStatus,
    Status, Welcome,
};
pub use storage::{
    DeleteModel, Deleted, FileState, Force, HashSource, ImportModel, Storage, StoredModel, StoredPull, Verified,
    VerifiedFile,
};
pub use tools::{Reasoning, Tool, ToolCall, ToolChoice};
pub use turn::Priority;
pub use usage::{GetUsage, UsageBy, UsageReport, UsageRow};
pub use workflows::{
    CheckWorkflow, PlannedStep, RunStarted, RunWorkflow, Workflow, WorkflowCheck, WorkflowFile, WorkflowInput,
    WorkflowList, WorkflowProblem, WorkflowRef,
};

/// Version of this contract. Grows when a method or field is removed or changes its meaning.
pub const PROTOCOL_VERSION: u32 = 1;

/// Oldest version of this contract that the daemon still speaks: one that drops nothing but has changed goes on with it.
pub const OLDEST_PROTOCOL: u32 = 1;

/// Longest message either side sends or accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
