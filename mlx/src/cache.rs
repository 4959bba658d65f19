//! Keys and values of the tokens computed so far, one cache for each layer of a sequence.
//!
//! Written in place, which MLX does only while nothing else holds the buffer: no clone of a handle may be kept, and no
//! view beyond the step that asked for it.

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, ops};

use crate::array::{head_rows, write};

/// Tokens that room is made for at a time.
const STEP: i32 = 256;

/// The cache of one layer, empty at first.
#[derive(Default)]
pub struct KvCache {
    /// `[1, heads, room, dims]`; `None` until the first tokens come.
    keys: Option<Array>,
    values: Option<Array>,
    /// Tokens written, at most `room`.
    len: i32,
}

impl KvCache {
    /// Tokens in the cache: the position of the next.
    pub fn len(&self) -> i32 {
        self.len
    }

    /// Appends, and answers all keys and values up to here. Both of shape `[1, heads, tokens, dims]`.
    pub fn update(&mut self, keys: &Array, values: &Array) -> Result<(Array, Array)> {
        let start = self.len;
        let views = (append(&mut self.keys, keys, start)?, append(&mut self.values, values, start)?);
        self.len = start + keys.shape()[2];
        Ok(views)
    }

    /// The buffers: once they are computed, so is everything written to them.
    pub fn state(&self) -> impl Iterator<Item = &Array> {
        self.keys.iter().chain(&self.values)
    }
}

/// Writes `new` at `start` into the buffer in `slot`, and answers a view up to its end.
fn append(slot: &mut Option<Array>, new: &Array, start: i32) -> Result<Array> {
    let &[_, _, tokens, _] = new.shape() else {
        return Err(Exception::custom(format!("a cache cannot hold the shape {:?}", new.shape())));
    };
    let end = start + tokens;
    let buffer = with_room(slot.take(), new, end)?;
    let buffer = write(buffer, new, [0, 0, start, 0])?;
    let view = head_rows(&buffer, end)?;
    *slot = Some(buffer);
    Ok(view)
}

/// `buffer` with room for `end` tokens of the shape and type of `new`.
fn with_room(buffer: Option<Array>, new: &Array, end: i32) -> Result<Array> {
    let room = buffer.as_ref().map_or(0, |buffer| buffer.shape()[2]);
    if end <= room {
        return buffer.ok_or_else(|| Exception::custom("no tokens to write"));
    }
    let mut shape = new.shape().to_vec();
    shape[2] = (end - room + STEP - 1) / STEP * STEP;
    let zeros = ops::zeros_dtype(&shape, new.dtype())?;
    match buffer {
        Some(buffer) => ops::concatenate(&[buffer, zeros], 2),
        None => Ok(zeros),
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
