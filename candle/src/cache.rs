//! What one layer of a sequence keeps of its tokens: keys and values, written in place.

use std::cell::Cell;
use std::rc::Rc;

use candle_core::{DType, Result, Tensor};

/// Tokens by which a cache grows.
const STEP: usize = 256;

/// Bytes that all caches of a backend hold, now and at most.
#[derive(Default)]
pub struct Account {
    now: Cell<u64>,
    peak: Cell<u64>,
}

impl Account {
    /// Bytes now, and most so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.now.get(), self.peak.get())
    }

    fn add(&self, bytes: u64) {
        self.now.set(self.now.get() + bytes);
        self.peak.set(self.peak.get().max(self.now.get()));
    }
}

/// One layer's keys and values. Owns its buffers alone: a copy is made by [`Cache::fork`] only.
pub struct Cache {
    /// Each `[kv heads, room, dims]`, of which the first `len` tokens are written.
    room: Option<[Tensor; 2]>,
    len: usize,
    booked: u64,
    account: Rc<Account>,
}

impl Cache {
    /// Without tokens.
    pub fn new(account: &Rc<Account>) -> Self {
        Self { room: None, len: 0, booked: 0, account: account.clone() }
    }

    /// Tokens in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds keys and values of `[kv heads, tokens, dims]`, and answers those of all tokens so far.
    pub fn append(&mut self, new: [&Tensor; 2]) -> Result<[Tensor; 2]> {
        let len = self.len + new[0].dim(1)?;
        let room = match self.room.take() {
            Some(room) if room[0].dim(1)? >= len => room,
            old => self.grown(old.as_ref(), new, len.next_multiple_of(STEP))?,
        };
        let [keys, values] = &room;
        keys.slice_set(&new[0].contiguous()?, 1, self.len)?;
        values.slice_set(&new[1].contiguous()?, 1, self.len)?;
        let all = [keys.narrow(1, 0, len)?, values.narrow(1, 0, len)?];
        (self.room, self.len) = (Some(room), len);
        Ok(all)
    }

    /// A copy of the first `len` tokens that shares nothing: both are written in place from here on.
    pub fn fork(&self, len: usize) -> Result<Self> {
        let mut copy = Self { room: None, len, booked: 0, account: self.account.clone() };
        if let Some(room) = &self.room {
            copy.room = Some(copy.grown(Some(room), room.each_ref(), (len + 1).next_multiple_of(STEP))?);
        }
        Ok(copy)
    }

    /// Forgets all but the first `len` tokens, and keeps the room.
    pub fn cut(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Bytes of its buffers.
    pub fn bytes(&self) -> u64 {
        self.booked
    }

    fn grown(&mut self, old: Option<&[Tensor; 2]>, like: [&Tensor; 2], room: usize) -> Result<[Tensor; 2]> {
        let (heads, _, dims) = like[0].dims3()?;
        let empty = || Tensor::zeros((heads, room, dims), DType::F32, like[0].device());
        let grown = [empty()?, empty()?];
        for (grown, old) in grown.iter().zip(old.into_iter().flatten()) {
            grown.slice_set(&old.narrow(1, 0, self.len)?.contiguous()?, 1, 0)?;
        }
        let bytes = (2 * heads * room * dims * DType::F32.size_in_bytes()) as u64;
        self.account.add(bytes - self.booked);
        self.booked = bytes;
        Ok(grown)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.account.now.set(self.account.now.get() - self.booked);
    }
}
