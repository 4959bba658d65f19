//! The boundary between the daemon and its engines.
//!
//! An engine is a child process that holds one model. The daemon speaks to it over one socket, which the child
//! finds as its standard input: frames of a length and a postcard message, [`Command`] one way, [`Event`] the
//! other. Only ids, token numbers, limits and errors cross. When the daemon dies, the socket closes and the
//! engine exits.
//!
//! In reading order: [`message`] says what crosses, [`grammar`] what an answer may be held to, [`frame`] how it is
//! written, [`backend`] what an engine must be able to do, [`serve`] the loop that every engine process runs around its
//! backend, [`prefix`] what a backend may keep of the beginnings of prompts, and [`speculation`] how it may guess tokens.
//! Beside them, [`convert`]: what an engine's program says when it writes a model anew and serves none, and
//! [`weight_files`]: where the weights of a folder are, and [`gguf`]: what a file in GGUF holds.
//!
//! This crate knows neither MLX nor tokio: the daemon and every engine depend on it, it depends on neither.

pub mod backend;
pub mod convert;
pub mod frame;
pub mod gguf;
pub mod grammar;
pub mod message;
pub mod prefix;
pub mod serve;
pub mod speculation;
mod weight_files;

pub use backend::{Backend, Pace, Step};
pub use grammar::Grammar;
pub use message::{
    Command, DeviceMemory, Embedding, Event, Failure, FailureKind, FinishReason, Finished, KvBits, Load, Loaded,
    Logprobs, Memory, Needs, Pooling, Priority, Sampling, SequenceId, Speculation, Submission, TokenId, VERSION, Work,
    Xtc,
};
pub use weight_files::weight_files;

/// Values of `model_type` of encoders: some engine makes vectors with them, and none makes text.
pub const ENCODERS: &[&str] = &["bert"];

/// Values of `model_type` that some engine makes text with; vectors too.
pub const ARCHITECTURES: &[&str] = &[
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gpt_oss",
    "lfm2",
    "llama",
    "ministral3",
    "mistral",
    "mistral3",
    "mixtral",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
];

/// Those of them that the Candle engine runs, from safetensors and GGUF files.
pub const CANDLE_ARCHITECTURES: &[&str] =
    &["gemma", "gemma2", "gemma3", "gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3"];
