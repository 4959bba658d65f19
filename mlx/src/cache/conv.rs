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
    /// Tokens seen.
    len: i32,
}

impl ConvCache {
    /// For a convolution over `tokens`, at least 1.
    pub fn new(tokens: i32) -> Self {
        Self { before: tokens - 1, last: None, len: 0 }
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
        self.len += tokens;
        Ok(all)
    }

    /// The one buffer.
    pub fn buffers(&self) -> [Option<&Array>; 2] {
        [self.last.as_ref(), None]
    }
}
