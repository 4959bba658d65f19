//! Keys and values of the last tokens: what a layer with a sliding window looks at.
//!
//! A single token overwrites the oldest, in place. Several are put behind the others in their order, so that each of
//! them finds the whole window before it; only then all but the last window are dropped. Attention does not mind the
//! order of what it looks at: positions are in the keys.

use std::ops::Range;

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, ops};

use super::frozen::{copied, zeros};
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
    /// What the last call of several tokens answered: more is to be frozen than a window. Gone when it is forgotten,
    /// and before anything is written in place.
    recent: Option<[Array; 2]>,
    /// Where the next single token goes; behind the last one until the window is full, then around.
    next: i32,
}

impl WindowCache {
    /// An empty one; `window` is at least 1.
    pub fn new(window: i32) -> Self {
        Self { window, keys: None, values: None, len: 0, recent: None, next: 0 }
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
        self.recent = None;
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
        self.recent = Some(all.clone());
        let [keys, values] = all;
        Ok((keys, values))
    }

    /// `new` behind what the first of its tokens sees of `old`, in the order of positions.
    fn behind(&self, old: Option<&Array>, new: &Array) -> Result<Array> {
        let Some(old) = old else { return Ok(new.clone()) };
        let held = self.len.min(self.window);
        let seen = held.min(self.window - 1);
        if seen == 0 {
            return Ok(new.clone());
        }
        ops::concatenate(&[&self.ordered(old, held - seen, held)?, new], 2)
    }

    /// Those from `start` to before `end` of all that are held of `buffer`, the oldest first.
    fn ordered(&self, buffer: &Array, start: i32, end: i32) -> Result<Array> {
        let held = self.len.min(self.window);
        // The oldest lies at `next` once the window is full, and what lies before it is younger.
        let oldest = if self.len > self.window && self.next < self.window { self.next } else { 0 };
        let (start, end) = (start + oldest, end + oldest);
        if end <= held {
            rows(buffer, start, end)
        } else if start >= held {
            rows(buffer, start - held, end - held)
        } else {
            ops::concatenate(&[rows(buffer, start, held)?, rows(buffer, 0, end - held)?], 2)
        }
    }

    /// A copy of the keys and values of those of these tokens that are there: the last ones. `None` where none is.
    pub fn frozen(&self, wanted: Range<i32>) -> Result<Option<[Array; 2]>> {
        let there = match &self.recent {
            Some([keys, _]) => tokens(keys)?,
            None => self.len.min(self.window),
        };
        let first = self.len - there;
        let (start, end) = (wanted.start.max(first) - first, wanted.end.min(self.len) - first);
        if start >= end {
            return Ok(None);
        }
        let part = |place: usize, buffer: Option<&Array>| match &self.recent {
            Some(recent) => copied(&recent[place], start..end),
            None => self.ordered(whole(buffer)?, start, end)?.contiguous(),
        };
        Ok(Some([part(0, self.keys.as_ref())?, part(1, self.values.as_ref())?]))
    }

    /// Drops what is there to be frozen alone.
    pub fn forget(&mut self) {
        self.recent = None;
    }

    /// Fills an empty one that saw `len` tokens, with at least those that the next one sees of them, in parts.
    pub fn thaw(&mut self, parts: &[&[Array; 2]], len: i32) -> Result<()> {
        let held = len.min(self.window);
        let buffer = |place: usize| {
            let Some(first) = parts.first() else { return Ok(None) };
            let all: Vec<_> = parts.iter().map(|part| &part[place]).collect();
            let all = ops::concatenate(&all, 2)?;
            let count = tokens(&all)?;
            if count >= held {
                return rows(&all, count - held, count).map(Some);
            }
            // The oldest, which nobody sees: the next is written over it or put behind the others.
            ops::concatenate(&[&zeros(&first[place], held - count)?, &all], 2).map(Some)
        };
        (self.keys, self.values, self.len, self.next) = (buffer(0)?, buffer(1)?, len, held);
        Ok(())
    }

    /// Keys and values with the room behind them.
    pub fn buffers(&self) -> [Option<&Array>; 2] {
        [self.keys.as_ref(), self.values.as_ref()]
    }
}

fn whole(buffer: Option<&Array>) -> Result<&Array> {
    buffer.ok_or_else(|| Exception::custom("no tokens were written"))
}
