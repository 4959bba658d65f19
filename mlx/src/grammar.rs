//! Masks on logits, where the text of a sequence must match a grammar: what `engine::grammar` finds, as MLX needs it.
//!
//! The tokens that may come next are found by the processor, while the device computes the logits.

use engine::grammar::Constraint;
use mlx_rs::{Array, ops};

use crate::array::scalar;
use crate::error::Result;

/// `logits` of shape `[1, vocabulary]` with −∞ for every token that may not come next.
pub fn mask(logits: &Array, constraint: &mut Constraint) -> Result<Array> {
    let flags = constraint.allowed(logits.shape()[1] as u32)?;
    let flags = Array::from_slice(&flags, &[1, flags.len() as i32]);
    Ok(ops::select(&flags, logits, &scalar(f32::NEG_INFINITY, logits)?)?)
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
