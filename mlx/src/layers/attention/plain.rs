//! Attention as products of matrices, where MLX has no kernel for it or builds one for every shape.

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, ops};

use super::{Scores, soft_cap};
use crate::array::scalar;

/// `softmax(scale · q · kᵀ) · v`, with the scores bent where they have a cap; from mlx-lm's `models/gemma2.py`. `queries`
/// are `[rows, heads, tokens, dims]`, keys and values `[rows, kv_heads, keys, dims]`; `seen` says which keys are seen, with
/// axes for rows, heads, tokens and keys or the last of them.
pub fn attend(
    queries: &Array,
    keys: &Array,
    values: &Array,
    seen: Option<&Array>,
    scores: Scores<'_>,
) -> Result<Array> {
    let (&[rows, heads, tokens, dims], &[_, kv_heads, count, _]) = (queries.shape(), keys.shape()) else {
        return Err(Exception::custom("queries and keys need four axes"));
    };
    // The heads that share keys, and the tokens of each, are the rows of one matrix.
    let shared_by = heads / kv_heads;
    let queries = ops::multiply(queries, &scalar(scores.scale, queries)?)?;
    let queries = queries.reshape(&[rows, kv_heads, shared_by * tokens, dims])?;
    let mut products = queries.matmul(keys.swap_axes(-1, -2)?)?;
    if let Some(cap) = scores.cap {
        products = soft_cap(&products, cap)?;
    }
    if let Some(seen) = seen {
        let seen = if seen.ndim() == 4 { &seen.expand_dims(2)? } else { seen };
        let each = products.reshape(&[rows, kv_heads, shared_by, tokens, count])?;
        products = ops::select(seen, &each, &scalar(f32::NEG_INFINITY, &each)?)?.reshape(products.shape())?;
    }
    ops::softmax_axis(&products, -1, true)?.matmul(values)?.reshape(&[rows, heads, tokens, dims])
}
