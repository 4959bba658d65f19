//! Draws at several positions of one sequence at once, of which only the first may come to be.

use mlx_rs::error::Result;
use mlx_rs::ops::indexing::argmax_axis;
use mlx_rs::{Array, ops};

use super::{History, Penalties, Sampler};
use crate::array::part;

/// What the draws behind it depend on.
#[derive(Clone)]
pub struct Mark {
    key: Array,
    penalized: Option<(Penalties, History)>,
}

impl Sampler {
    /// The tokens `[positions]` after logits of shape `[positions, vocabulary]`, to the last bit what [`Self::next`] gives
    /// one after the other; and where each draw leaves the sampler.
    pub fn along(&mut self, logits: &Array) -> Result<(Array, Vec<Mark>)> {
        let count = logits.shape()[0];
        if self.sampling.temperature <= 0.0 && !self.adjusts() {
            return Ok((argmax_axis(logits, -1, None)?, vec![self.mark(); count as usize]));
        }
        let (mut tokens, mut marks) = (Vec::new(), Vec::new());
        for place in 0..count {
            tokens.push(self.next(&part(logits, place, place + 1)?)?);
            marks.push(self.mark());
        }
        Ok((ops::concatenate(&tokens, 0)?, marks))
    }

    /// Takes back what was drawn behind.
    pub fn back_to(&mut self, mark: Mark) {
        (self.key, self.penalized) = (mark.key, mark.penalized);
    }

    /// Where it is now.
    pub fn mark(&self) -> Mark {
        Mark { key: self.key.clone(), penalized: self.penalized.clone() }
    }
}
