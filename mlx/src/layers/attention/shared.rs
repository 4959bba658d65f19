//! Attention of one new token of each sequence whose keys and values lie in the same buffers.

use mlx_rs::Array;
use mlx_rs::error::Result;
use mlx_rs::fast::{ScaledDotProductAttentionMask as Mask, scaled_dot_product_attention};

use super::{Scores, few_tokens, plain};
use crate::cache::Table;

/// Adds `keys` and `values` to a layer of the table and lets `queries` attend to what it holds, each row to its own. All
/// with axes `[slots, heads, 1, dims]`.
pub fn attend(
    [queries, keys, values]: [Array; 3],
    table: &mut Table,
    layer: usize,
    scores: Scores<'_>,
) -> Result<Array> {
    let [keys, values] = table.update(layer, &keys, &values)?;
    let (places, room) = (table.places()?, keys.shape()[2]);
    if let Some(seen) = few_tokens::attend(&queries, [&keys, &values], || places.at.clone(), room, scores) {
        return seen;
    }
    let seen = &places.seen;
    if scores.cap.is_none() && (scores.sinks.is_some() || table.has_kernel()) {
        let mask = Some(Mask::Array(seen));
        return scaled_dot_product_attention(&queries, &keys, &values, scores.scale, mask, scores.sinks);
    }
    // CUDA has none: MLX takes each head by itself then, which reads the keys as often; and cuDNN has one for several
    // tokens, but builds it for every count of rows and every room.
    plain::attend(&queries, &keys, &values, Some(seen), scores)
}
