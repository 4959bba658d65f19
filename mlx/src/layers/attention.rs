//! Causal attention of new tokens to themselves and to all before them, with grouped heads.

use mlx_rs::Array;
use mlx_rs::error::Result;
use mlx_rs::fast::{ScaledDotProductAttentionMask as Mask, scaled_dot_product_attention};

use crate::cache::KvCache;

/// How a projection is cut into heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// How many.
    pub count: i32,
    /// Numbers of each.
    pub dims: i32,
}

impl Heads {
    /// Numbers of all together.
    pub fn width(self) -> i32 {
        self.count * self.dims
    }

    /// `[1, tokens, count · dims]` to `[1, count, tokens, dims]`
    pub fn split(self, x: &Array) -> Result<Array> {
        let tokens = x.shape()[1];
        x.reshape(&[1, tokens, self.count, self.dims])?.transpose_axes(&[0, 2, 1, 3])
    }

    /// The way back.
    pub fn join(self, x: &Array) -> Result<Array> {
        let tokens = x.shape()[2];
        x.transpose_axes(&[0, 2, 1, 3])?.reshape(&[1, tokens, self.width()])
    }
}

/// Adds `keys` and `values` to the cache and lets `queries` attend to all of it. All with axes `[1, heads, tokens,
/// dims]`; several heads of the queries share one of the keys. Scores are divided by √dims.
pub fn attend(queries: &Array, keys: &Array, values: &Array, cache: &mut KvCache) -> Result<Array> {
    let (tokens, dims) = (queries.shape()[2], queries.shape()[3]);
    let (keys, values) = cache.update(keys, values)?;
    // One token may see everything; the mask of several is aligned to the end of the cache.
    let mask = (tokens > 1).then_some(Mask::Causal);
    scaled_dot_product_attention(queries, &keys, &values, (dims as f32).powf(-0.5), mask, None)
}
