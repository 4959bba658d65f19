//! Log-probabilities at a token, read back only where somebody asks for them.

use engine::message::{Logprobs, TokenId};
use mlx_rs::{Array, Dtype, ops};

use crate::error::{Error, Result};

/// Of token `chosen` and of the `count` likeliest, from logits of shape `[1, vocabulary]`: `x − log Σ exp x`.
pub fn at(logits: &Array, chosen: TokenId, count: u32) -> Result<Logprobs> {
    let logits = logits.as_dtype(Dtype::Float32)?;
    let logprobs = ops::subtract(&logits, &logits.logsumexp_axis(-1, true)?)?.reshape(&[-1])?;
    let count = count.min(logprobs.size() as u32) as i32;
    let mut places = Array::from_slice(&[chosen], &[1]);
    if count > 0 {
        let order = ops::argpartition_axis(&ops::negative(&logprobs)?, count - 1, 0)?;
        let likeliest = order.split_at_indices(&[count], 0)?.swap_remove(0);
        places = ops::concatenate(&[&places, &likeliest.as_dtype(Dtype::Uint32)?], 0)?;
    }
    let values = ops::indexing::take_axis(&logprobs, &places, 0)?;
    let values: Vec<f32> = values.to_vec_exact().map_err(|error| Error::Internal(error.to_string()))?;
    let places: Vec<u32> = places.to_vec_exact().map_err(|error| Error::Internal(error.to_string()))?;
    let mut top: Vec<_> = places.into_iter().zip(values.iter().copied()).skip(1).collect();
    // Likeliest first; of equals the lower number.
    top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    Ok(Logprobs { chosen: values[0], top })
}

#[cfg(test)]
#[path = "logprobs_tests.rs"]
mod tests;
