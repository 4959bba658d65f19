//! The MLX engine: one model in one process, run by the thread that loaded it.
//!
//! [`Mlx`] stands behind the boundary of the `engine` crate; the program `talkied-mlx` serves it to the daemon. Only
//! token numbers and errors leave this crate: no MLX type is public, and neither text nor templates are known here.
//! In reading order: the backend, the sequence it steps, the prefixes that sequences leave behind, the grammar that one may obey, the models and their layers, what they are loaded from;
//! and beside all that the conversion, which writes a model anew and runs none.

mod array;
mod backend;
#[cfg(target_os = "linux")]
mod blas;
mod cache;
mod call;
mod clock;
mod config;
pub mod convert;
mod device;
mod draft;
mod embedding;
mod encoders;
mod error;
mod grammar;
pub mod kernels;
mod layers;
mod logprobs;
mod models;
mod network;
mod packed;
mod prefix;
mod rests;
mod sampler;
mod sequence;
mod weights;

#[cfg(test)]
mod checkpoint;

pub use backend::Mlx;
pub use embedding::Text;
pub use sequence::Sequence;

/// Where models are computed here: `cpu`, or the name of a GPU.
pub fn device() -> std::io::Result<String> {
    device::Device::open().map(|device| device.name).map_err(std::io::Error::other)
}
