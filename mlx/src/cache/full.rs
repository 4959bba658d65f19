//! Keys and values of all tokens.

use std::ops::Range;
use std::rc::Rc;

use mlx_rs::Array;
use mlx_rs::error::{Exception, Result};

use super::frozen::with_room;
use super::shared::Seat;
use super::{Buffer, plain_room, put, tokens};
use crate::array::rows;

/// Grows by steps, empty at first.
pub struct FullCache(Store);

enum Store {
    /// Buffers of its own.
    Own {
        keys: Buffer,
        values: Buffer,
        /// Tokens written, at most the room of the buffers.
        len: i32,
    },
    /// A row of buffers that several sequences share.
    Seat { seat: Rc<Seat>, layer: usize },
}

impl Default for FullCache {
    fn default() -> Self {
        Self::with(None, None, 0)
    }
}

impl FullCache {
    /// Of `len` tokens.
    pub(super) fn with(keys: Buffer, values: Buffer, len: i32) -> Self {
        Self(Store::Own { keys, values, len })
    }

    /// One that is in a table, as this layer.
    pub fn seated(seat: Rc<Seat>, layer: usize) -> Self {
        Self(Store::Seat { seat, layer })
    }

    /// Its place in a table.
    pub fn seat(&self) -> Option<&Seat> {
        if let Store::Seat { seat, .. } = &self.0 { Some(seat) } else { None }
    }

    /// Tokens in the cache: the position of the next.
    pub fn len(&self) -> i32 {
        match &self.0 {
            Store::Own { len, .. } => *len,
            Store::Seat { seat, .. } => seat.len(),
        }
    }

    /// [`Self::append`] and [`Self::held`].
    #[cfg(test)]
    pub fn update(&mut self, new_keys: &Array, new_values: &Array) -> Result<(Array, Array)> {
        self.append(new_keys, new_values)?;
        self.held()
    }

    /// Appends keys and values, both of shape `[1, heads, tokens, dims]`. One in a table has to leave it first.
    pub fn append(&mut self, new_keys: &Array, new_values: &Array) -> Result<()> {
        let Store::Own { keys, values, len } = &mut self.0 else {
            return Err(Exception::custom("a cache that shares its buffers was to be written alone"));
        };
        let end = *len + tokens(new_keys)?;
        put(keys, new_keys, *len, plain_room(end))?;
        put(values, new_values, *len, plain_room(end))?;
        *len = end;
        Ok(())
    }

    /// All keys and values; views.
    pub fn held(&self) -> Result<(Array, Array)> {
        let [keys, values] = self.rows(0..self.len())?;
        Ok((keys, values))
    }

    /// Takes back all but the first `to` tokens.
    pub fn cut(&mut self, to: i32) {
        match &mut self.0 {
            Store::Own { len, .. } => *len = (*len).min(to),
            Store::Seat { seat, .. } => seat.cut(to),
        }
    }

    /// The keys and values of these tokens; views.
    pub fn rows(&self, tokens: Range<i32>) -> Result<[Array; 2]> {
        match &self.0 {
            Store::Own { keys, values, .. } => {
                let of = |buffer: &Buffer| rows(whole(buffer)?, tokens.start, tokens.end);
                Ok([of(keys)?, of(values)?])
            }
            Store::Seat { seat, layer } => seat.rows(*layer, tokens),
        }
    }

    /// Keys and values with the room behind them; of a table, which has them, none.
    pub fn buffers(&self) -> [Option<&Array>; 2] {
        match &self.0 {
            Store::Own { keys, values, .. } => [keys.as_ref(), values.as_ref()],
            Store::Seat { .. } => [None, None],
        }
    }

    /// Has buffers of its own from now on, with a copy of what it has in a table.
    pub fn leave(&mut self) -> Result<()> {
        *self = self.fork()?;
        Ok(())
    }

    /// Another with the same tokens, in buffers of its own; of such, both hold the same until one of them writes.
    pub fn fork(&self) -> Result<Self> {
        match &self.0 {
            Store::Own { keys, values, len } => Ok(Self::with(keys.clone(), values.clone(), *len)),
            Store::Seat { seat, layer } => {
                let len = seat.len();
                let [keys, values] = seat.rows(*layer, 0..len)?;
                let room = |held: &Array| with_room(&[&held.contiguous()?], plain_room(len));
                Ok(Self::with(Some(room(&keys)?), Some(room(&values)?), len))
            }
        }
    }
}

fn whole(buffer: &Buffer) -> Result<&Array> {
    buffer.as_ref().ok_or_else(|| Exception::custom("no tokens were written"))
}
