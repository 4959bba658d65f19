//! Masks on logits, where the text of a sequence must match a grammar: what `engine::grammar` finds, as MLX needs it.
//!
//! The tokens that may come next are found by the processor, while the device computes the logits.

use mlx_rs::error::Result;
use mlx_rs::{Array, ops};

use crate::array::scalar;

/// `logits` of shape `[rows, vocabulary]` with −∞ for every token that may not come next, which `allowed` says of each
/// row, one after the other: what their constraints answer.
pub fn mask(logits: &Array, allowed: &[bool]) -> Result<Array> {
    let flags = Array::from_slice(allowed, logits.shape());
    ops::select(&flags, logits, &scalar(f32::NEG_INFINITY, logits)?)
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
