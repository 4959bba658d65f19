//! Keys and values of the last tokens: what a layer with a sliding window looks at.
//!
//! A single token overwrites the oldest, in place. Several are put behind the others in their order, so that each of
//! them finds the whole window before it; only then all but the last window are dropped. Attention does not mind the
//! order of what it looks at: positions are in the keys.

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, ops};

use super::{Buffer, in_steps, put, tokens};
use crate::array::rows;

/// Of `window` tokens, empty at first.
#[derive(Clone)]
pub struct WindowCache {
    window: i32,
    keys: Buffer,
    values: Buffer,
    /// Tokens seen.
    len: i32,
    /// Where the next single token goes; behind the last one until the window is full, then around.
    next: i32,
}

impl WindowCache {
    /// An empty one; `window` is at least 1.
    pub fn new(window: i32) -> Self {
        Self { window, keys: None, values: None, len: 0, next: 0 }
    }

    /// Tokens seen: the position of the next.
    pub fn len(&self) -> i32 {
        self.len
    }

    /// Tokens that a token sees, itself included.
    pub fn window(&self) -> i32 {
        self.window
    }

    /// Appends, and answers the keys and values that the new tokens may look at: of a single one all, of several the
    /// last of which are the new ones in their order.
    pub fn update(&mut self, keys: &Array, values: &Array) -> Result<(Array, Array)> {
        match tokens(keys)? {
            1 => self.turn(keys, values),
            count => self.append(keys, values, count),
        }
    }

    fn turn(&mut self, keys: &Array, values: &Array) -> Result<(Array, Array)> {
        let start = if self.next == self.window { 0 } else { self.next };
        let room = in_steps(start + 1).min(self.window);
        put(&mut self.keys, keys, start, room)?;
        put(&mut self.values, values, start, room)?;
        self.len += 1;
        self.next = start + 1;
        let held = self.len.min(self.window);
        Ok((rows(whole(self.keys.as_ref())?, 0, held)?, rows(whole(self.values.as_ref())?, 0, held)?))
    }

    fn append(&mut self, keys: &Array, values: &Array, count: i32) -> Result<(Array, Array)> {
        let all = [self.behind(self.keys.as_ref(), keys)?, self.behind(self.values.as_ref(), values)?];
        self.len += count;
        let held = self.len.min(self.window);
        let end = tokens(&all[0])?;
        let [keys, values] = &all;
        self.keys = Some(rows(keys, end - held, end)?);
        self.values = Some(rows(values, end - held, end)?);
        self.next = held;
        let [keys, values] = all;
        Ok((keys, values))
    }

    /// `new` behind what the first of its tokens sees of `old`, in the order of positions.
    fn behind(&self, old: Option<&Array>, new: &Array) -> Result<Array> {
        let Some(old) = old else { return Ok(new.clone()) };
        let held = self.len.min(self.window);
        // Oldest first: from `next` on until the window is full, and then what lies before it.
        let ordered = if self.len > self.window && self.next < self.window {
            ops::concatenate(&[rows(old, self.next, held)?, rows(old, 0, self.next)?], 2)?
        } else {
            rows(old, 0, held)?
        };
        let seen = held.min(self.window - 1);
        if seen == 0 {
            return Ok(new.clone());
        }
        ops::concatenate(&[&rows(&ordered, held - seen, held)?, new], 2)
    }

    /// Keys and values with the room behind them.
    pub fn buffers(&self) -> [Option<&Array>; 2] {
        [self.keys.as_ref(), self.values.as_ref()]
    }
}

fn whole(buffer: Option<&Array>) -> Result<&Array> {
    buffer.ok_or_else(|| Exception::custom("no tokens were written"))
}
