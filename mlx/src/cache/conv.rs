//! What a short convolution over the tokens sees before the next: the last vectors that went into it.

use mlx_rs::Array;
use mlx_rs::error::Result;
use mlx_rs::ops;

use crate::array::tokens_of;

/// Empty at first, which a convolution sees as zeros.
#[derive(Clone)]
pub struct ConvCache {
    /// Tokens before its own that a step of the convolution sees.
    before: i32,
    /// `[1, before, channels]`; `None` until the first tokens come.
    last: Option<Array>,
    /// What the last call answered: there is more to be frozen than the end of its tokens. Gone when it is forgotten.
    recent: Option<Array>,
    /// Tokens seen.
    len: i32,
}

impl ConvCache {
    /// For a convolution over `tokens`, at least 1.
    pub fn new(tokens: i32) -> Self {
        Self { before: tokens - 1, last: None, recent: None, len: 0 }
    }

    /// Tokens seen: the position of the next.
    pub fn len(&self) -> i32 {
        self.len
    }

    /// `new` of shape `[1, tokens, channels]` behind what a convolution sees before it, `[1, before + tokens, channels]`.
    pub fn update(&mut self, new: &Array) -> Result<Array> {
        let &[batch, tokens, channels] = new.shape() else {
            return Err(mlx_rs::error::Exception::custom(format!("a convolution of the shape {:?}", new.shape())));
        };
        let last = match self.last.take() {
            Some(last) => last,
            None => ops::zeros_dtype(&[batch, self.before, channels], new.dtype())?,
        };
        let all = ops::concatenate(&[&last, new], 1)?;
        // A copy: a view would hold all tokens of a chunk.
        self.last = Some(tokens_of(&all, tokens, tokens + self.before)?.contiguous()?);
        self.recent = Some(all.clone());
        self.len += tokens;
        Ok(all)
    }

    /// A copy of what a convolution sees before the token at `end`; `None` where that is no longer known.
    pub fn frozen(&self, end: i32) -> Result<Option<Array>> {
        let Some(recent) = &self.recent else { return Ok(self.last.clone().filter(|_| end == self.len)) };
        // The first of them, before the tokens of the last call.
        let start = end - self.before - (self.len - recent.shape()[1]);
        let known = start >= 0 && end <= self.len;
        known.then(|| tokens_of(recent, start, start + self.before)?.contiguous()).transpose()
    }

    /// Drops what is there to be frozen alone.
    pub fn forget(&mut self) {
        self.recent = None;
    }

    /// Fills an empty one that saw `len` tokens, and before the next one `last`.
    pub fn thaw(&mut self, last: Option<Array>, len: i32) {
        (self.last, self.len) = (last, len);
    }

    /// The one buffer.
    pub fn buffers(&self) -> [Option<&Array>; 2] {
        [self.last.as_ref(), None]
    }
}
