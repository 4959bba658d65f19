//! What a sequence keeps of the tokens computed so far, one cache for each layer.
//!
//! Written in place, which MLX does only while nothing else holds the buffer: no clone of a handle may be kept, and no
//! view beyond the step that asked for it. Only where a sequence is forked is a clone meant: whoever writes first copies.

mod conv;
mod full;
mod window;

use mlx_rs::Array;
use mlx_rs::error::{Exception, Result};
use mlx_rs::ops;

use crate::array::write;

pub use self::conv::ConvCache;
pub use self::full::FullCache;
pub use self::window::WindowCache;

/// Tokens that room is made for at a time.
const STEP: i32 = 256;

/// The cache of one layer.
#[derive(Clone)]
pub enum Cache {
    /// Keys and values of all tokens.
    Full(FullCache),
    /// Those of the last tokens.
    Window(WindowCache),
    /// What a short convolution sees of the last tokens.
    Conv(ConvCache),
}

impl Cache {
    /// One that keeps every token.
    pub fn full() -> Self {
        Self::Full(FullCache::default())
    }

    /// One that keeps the last `tokens`.
    pub fn window(tokens: i32) -> Self {
        Self::Window(WindowCache::new(tokens))
    }

    /// One for a convolution that sees `tokens`, its own included.
    pub fn conv(tokens: i32) -> Self {
        Self::Conv(ConvCache::new(tokens))
    }

    /// Tokens that it has seen: the position of the next.
    pub fn len(&self) -> i32 {
        match self {
            Self::Full(cache) => cache.len(),
            Self::Window(cache) => cache.len(),
            Self::Conv(cache) => cache.len(),
        }
    }

    /// The buffers: once they are computed, so is everything written to them.
    pub fn state(&self) -> impl Iterator<Item = &Array> {
        let buffers = match self {
            Self::Full(cache) => cache.buffers(),
            Self::Window(cache) => cache.buffers(),
            Self::Conv(cache) => cache.buffers(),
        };
        buffers.into_iter().flatten()
    }
}

/// A buffer of keys or of values, `[1, heads, room, dims]`; `None` until the first tokens come.
type Buffer = Option<Array>;

/// The tokens of an array of keys or values, `[1, heads, tokens, dims]`.
fn tokens(new: &Array) -> Result<i32> {
    match new.shape() {
        &[_, _, tokens, _] => Ok(tokens),
        shape => Err(Exception::custom(format!("a cache cannot hold the shape {shape:?}"))),
    }
}

/// Writes `new` at `start` into the buffer in `slot`, which gets room for `room` tokens if it has less.
fn put(slot: &mut Buffer, new: &Array, start: i32, room: i32) -> Result<()> {
    let buffer = with_room(slot.take(), new, room)?;
    *slot = Some(write(buffer, new, [0, 0, start, 0])?);
    Ok(())
}

/// `buffer` with room for `room` tokens of the shape and type of `new`.
fn with_room(buffer: Buffer, new: &Array, room: i32) -> Result<Array> {
    let has = buffer.as_ref().map_or(0, |buffer| buffer.shape()[2]);
    let mut shape = new.shape().to_vec();
    shape[2] = room - has;
    match buffer {
        Some(buffer) if room <= has => Ok(buffer),
        Some(buffer) => ops::concatenate(&[buffer, ops::zeros_dtype(&shape, new.dtype())?], 2),
        None => ops::zeros_dtype(&shape, new.dtype()),
    }
}

/// `tokens` rounded up to whole steps.
fn in_steps(tokens: i32) -> i32 {
    (tokens + STEP - 1) / STEP * STEP
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
