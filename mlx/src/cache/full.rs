//! Keys and values of all tokens.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::{Exception, Result};

use super::frozen::{copied, with_room};
use super::{Buffer, in_steps, put, tokens};
use crate::array::rows;

/// Grows by steps, empty at first.
#[derive(Clone, Default)]
pub struct FullCache {
    keys: Buffer,
    values: Buffer,
    /// Tokens written, at most the room of the buffers.
    len: i32,
}

impl FullCache {
    /// Tokens in the cache: the position of the next.
    pub fn len(&self) -> i32 {
        self.len
    }

    /// Appends, and answers all keys and values up to here. Both of shape `[1, heads, tokens, dims]`.
    pub fn update(&mut self, keys: &Array, values: &Array) -> Result<(Array, Array)> {
        let end = self.len + tokens(keys)?;
        put(&mut self.keys, keys, self.len, in_steps(end))?;
        put(&mut self.values, values, self.len, in_steps(end))?;
        self.len = end;
        Ok((view(&self.keys, end)?, view(&self.values, end)?))
    }

    /// Takes back all but the first `len` tokens.
    pub fn cut(&mut self, len: i32) {
        self.len = self.len.min(len);
    }

    /// A copy of these tokens' keys and values.
    pub fn frozen(&self, tokens: Range<i32>) -> Result<[Array; 2]> {
        Ok([copied(whole(&self.keys)?, tokens.clone())?, copied(whole(&self.values)?, tokens)?])
    }

    /// Fills an empty one with the keys and values of `len` tokens, in parts; there is room for `room`.
    pub fn thaw(&mut self, parts: &[&[Array; 2]], len: i32, room: i32) -> Result<()> {
        let buffer = |place: usize| {
            let parts: Vec<_> = parts.iter().map(|part| &part[place]).collect();
            with_room(&parts, in_steps(room))
        };
        (self.keys, self.values, self.len) = (Some(buffer(0)?), Some(buffer(1)?), len);
        Ok(())
    }

    /// Keys and values with the room behind them.
    pub fn buffers(&self) -> [Option<&Array>; 2] {
        [self.keys.as_ref(), self.values.as_ref()]
    }
}

fn view(buffer: &Buffer, end: i32) -> Result<Array> {
    rows(whole(buffer)?, 0, end)
}

fn whole(buffer: &Buffer) -> Result<&Array> {
    buffer.as_ref().ok_or_else(|| Exception::custom("no tokens were written"))
}
