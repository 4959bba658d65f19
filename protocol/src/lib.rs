//! The contract of talkied: methods, types and errors of its JSON-RPC 2.0 interface over one Unix socket.
//!
//! No I/O happens here; the daemon and its clients share these types. In reading order: [`rpc`] declares the
//! methods, [`generate`], [`options`], [`mod@format`], [`tools`], [`embeddings`], [`models`] and [`status`] their
//! parameters and results, [`error`] the codes, [`openrpc`] describes all of it to programs, [`paths`] says where the
//! socket and the models are.
//!
//! `README.md` beside this crate is the reference of the wire; its examples are run as tests.

pub mod embeddings;
pub mod error;
pub mod format;
pub mod generate;
pub mod models;
mod named;
pub mod openrpc;
pub mod options;
pub mod paths;
#[cfg(any(feature = "server", feature = "client"))]
pub mod rpc;
pub mod status;
pub mod tools;

pub use embeddings::{EmbeddingsRequest, EmbeddingsResult, Pooling};
pub use error::{ErrorData, Kind};
pub use format::ResponseFormat;
pub use generate::{
    CancelRequest, Cancelled, FinishReason, GenerateEvent, GenerateRequest, GenerateResult, Message, RequestId, Role,
    Sample, Timings, TokenCount, TokenLogprob, TokenLogprobs, Usage,
};
pub use models::{
    Capability, ImportModel, LoadModel, Model, ModelId, ModelList, ModelRef, ModelState, ModelType, Quantization,
    Residency, ResidencyState, Unloaded,
};
pub use options::{GenerationOptions, KeepAlive};
pub use status::{Pong, RequestState, RequestStatus, Status};
pub use tools::{Reasoning, Tool, ToolCall, ToolChoice};

/// Version of this contract. Grows when a method or field is removed or changes its meaning.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest message either side sends or accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
