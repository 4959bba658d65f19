//! Keys and values of all tokens.

use mlx_rs::Array;
use mlx_rs::error::{Exception, Result};

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

    /// Keys and values with the room behind them.
    pub fn buffers(&self) -> [Option<&Array>; 2] {
        [self.keys.as_ref(), self.values.as_ref()]
    }
}

fn view(buffer: &Buffer, end: i32) -> Result<Array> {
    let buffer = buffer.as_ref().ok_or_else(|| Exception::custom("no tokens were written"))?;
    rows(buffer, 0, end)
}
