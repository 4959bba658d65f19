//! Queries, keys and values of one input.

use mlx_rs::Array;
use mlx_rs::error::Result as MlxResult;

use super::attention::Heads;
use super::linear::{Bias, Linear};
use super::matrix::Size;
use super::rope::{Offset, Rope};
use crate::array::heads;
use crate::error::Result;
use crate::weights::Weights;

/// What an input is multiplied with, and how the products are cut.
pub struct Qkv {
    projection: Projection,
    heads: Heads,
    kv_heads: Heads,
}

enum Projection {
    /// All rows in one matrix: a product and a rope less for each layer to describe and to start.
    One(Linear),
    /// Three matrices.
    Each(Box<[Linear; 3]>),
}

impl Qkv {
    /// Takes `path.q_proj`, `path.k_proj` and `path.v_proj`, as one matrix where the device is faster so and they are
    /// packed alike. `heads` are those of the queries; `columns` numbers go in.
    pub fn load(
        weights: &mut Weights,
        path: &str,
        columns: i32,
        [heads, kv_heads]: [Heads; 2],
        bias: Bias,
    ) -> Result<Self> {
        let mut linear = |name: &str, heads: Heads| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows: heads.width(), columns }, bias)
        };
        let each = [linear("q_proj", heads)?, linear("k_proj", kv_heads)?, linear("v_proj", kv_heads)?];
        let joined = if weights.joins() { Linear::join(&each)? } else { None };
        let projection = joined.map_or_else(|| Projection::Each(Box::new(each)), Projection::One);
        Ok(Self { projection, heads, kv_heads })
    }

    /// Takes `path`, in which they are one matrix.
    pub fn joined(weights: &mut Weights, path: &str, columns: i32, [heads, kv_heads]: [Heads; 2]) -> Result<Self> {
        let rows = heads.width() + 2 * kv_heads.width();
        let projection = Projection::One(Linear::load(weights, path, Size { rows, columns }, Bias::None)?);
        Ok(Self { projection, heads, kv_heads })
    }

    /// `[rows, tokens, hidden]` to queries, keys and values, `[rows, heads, tokens, dims]`, the first two turned by
    /// `rope`.
    pub fn forward(&self, x: &Array, rope: &Rope, offset: &Offset) -> MlxResult<[Array; 3]> {
        let Self { projection, heads: Heads { count, dims }, kv_heads } = self;
        match projection {
            Projection::One(linear) => {
                let turned = count + kv_heads.count;
                let all = Heads { count: turned + kv_heads.count, dims: *dims }.split(&linear.forward(x)?)?;
                // The values are turned in vain: a view without them is one operation more for the host to describe.
                let rotated = rope.forward(&all, offset)?;
                let (queries, keys) = (heads(&rotated, 0, *count)?, heads(&rotated, *count, turned)?);
                Ok([queries, keys, heads(&all, turned, turned + kv_heads.count)?])
            }
            Projection::Each(each) => {
                let [q_proj, k_proj, v_proj] = &**each;
                let queries = rope.forward(&self.heads.split(&q_proj.forward(x)?)?, offset)?;
                let keys = rope.forward(&kv_heads.split(&k_proj.forward(x)?)?, offset)?;
                Ok([queries, keys, kv_heads.split(&v_proj.forward(x)?)?])
            }
        }
    }
}

#[cfg(test)]
#[path = "qkv_tests.rs"]
mod tests;
