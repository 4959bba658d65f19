//! Attention of one token to packed keys and values, as they lie.

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, ops};

use super::{Scores, soft_cap};
use crate::array::{columns, scalar};
use crate::cache::PackedCache;

/// `softmax(scale · q · kᵀ) · v`, with `queries` of shape `[1, heads, 1, dims]` and so the result. From mlx-lm's
/// `models/base.py`, `quantized_scaled_dot_product_attention`; which knows neither caps nor sinks.
pub fn attend(queries: &Array, cache: &PackedCache, scores: Scores<'_>) -> Result<Array> {
    let (keys, values) = cache.packed()?;
    let (&[_, heads, 1, dims], &[_, kv_heads, room, _]) = (queries.shape(), keys.weight.shape()) else {
        return Err(Exception::custom("queries of one token, and keys, need four axes"));
    };
    // Heads that share keys are the rows of one product.
    let rows = |last| [1, kv_heads, heads / kv_heads, last];
    let queries = ops::multiply(queries, &scalar(scores.scale, queries)?)?.reshape(&rows(dims))?;
    let products = keys.matmul(&queries)?.reshape(&[1, heads, room])?;
    let shares = shares(&products, cache.len(), scores)?;
    values.mix(&shares.reshape(&rows(room))?)?.reshape(&[1, heads, 1, dims])
}

/// How much each of the first `held` tokens is looked at, from the products with all of the room, `[1, heads, room]`.
fn shares(products: &Array, held: i32, scores: Scores<'_>) -> Result<Array> {
    let &[_, heads, room] = products.shape() else {
        return Err(Exception::custom(format!("no scores have the shape {:?}", products.shape())));
    };
    let capped = scores.cap.map(|cap| soft_cap(products, cap)).transpose()?;
    let products = capped.as_ref().unwrap_or(products);
    let written = ops::arange::<_, i32>(0, room, None)?.lt(Array::from_int(held))?;
    let seen = ops::select(&written, products, &scalar(f32::NEG_INFINITY, products)?)?;
    let Some(sinks) = scores.sinks else { return ops::softmax_axis(&seen, -1, true) };
    let sinks = sinks.as_dtype(products.dtype())?.reshape(&[1, heads, 1])?;
    columns(&ops::softmax_axis(ops::concatenate(&[&seen, &sinks], 2)?, -1, true)?, 0, room)
}
