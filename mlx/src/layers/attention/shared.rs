//! Attention of one new token of each sequence whose keys and values lie in the same buffers.

use mlx_rs::error::{Exception, Result};
use mlx_rs::fast::{ScaledDotProductAttentionMask as Mask, scaled_dot_product_attention};
use mlx_rs::{Array, ops};

use super::{Scores, soft_cap};
use crate::array::scalar;
use crate::cache::Table;

/// Adds `keys` and `values` to a layer of the table and lets `queries` attend to what it holds, each row to its own. All
/// with axes `[slots, heads, 1, dims]`.
pub fn attend(
    [queries, keys, values]: [Array; 3],
    table: &mut Table,
    layer: usize,
    scores: Scores<'_>,
) -> Result<Array> {
    let [keys, values, seen] = table.update(layer, &keys, &values)?;
    if scores.cap.is_none() && (scores.sinks.is_some() || table.has_kernel()) {
        let mask = Some(Mask::Array(&seen));
        return scaled_dot_product_attention(&queries, &keys, &values, scores.scale, mask, scores.sinks);
    }
    plain(&queries, &keys, &values, &seen, scores)
}

/// `softmax(scale · q · kᵀ) · v` as products of matrices, the heads that share keys being the rows of one. CUDA has no
/// kernel for one token with a mask: MLX takes each head by itself then, which reads the keys as often. A kernel of cuDNN
/// for several would be built anew for every count of rows and every room, which takes 65 ms.
fn plain(queries: &Array, keys: &Array, values: &Array, seen: &Array, scores: Scores<'_>) -> Result<Array> {
    let (&[slots, heads, _, dims], &[_, kv_heads, ..]) = (queries.shape(), keys.shape()) else {
        return Err(Exception::custom("queries and keys need four axes"));
    };
    let queries = ops::multiply(queries, &scalar(scores.scale, queries)?)?;
    let queries = queries.reshape(&[slots, kv_heads, heads / kv_heads, dims])?;
    let mut products = queries.matmul(keys.swap_axes(-1, -2)?)?;
    if let Some(cap) = scores.cap {
        products = soft_cap(&products, cap)?;
    }
    let products = ops::select(seen, &products, &scalar(f32::NEG_INFINITY, &products)?)?;
    ops::softmax_axis(&products, -1, true)?.matmul(values)?.reshape(&[slots, heads, 1, dims])
}
