//! The Candle engine: one model in one process, for machines that MLX does not serve.
//!
//! [`Candle`] stands behind the boundary of the `engine` crate; the program `talkied-candle` serves it to the daemon. Only
//! token numbers and errors leave this crate: no type of Candle is public, and neither text nor templates are known here.
//! In reading order: the backend, the sequence it steps, what chooses its tokens, the model and what that is loaded from.

mod backend;
mod cache;
mod config;
mod device;
mod error;
mod files;
mod gguf;
mod logprobs;
mod model;
mod packed;
#[cfg(target_arch = "x86_64")]
mod product;
#[cfg(not(target_arch = "x86_64"))]
#[path = "product_elsewhere.rs"]
mod product;
mod rope;
mod sampler;
mod sequence;
mod timeline;
mod weights;

pub use backend::Candle;
pub use sequence::Sequence;
