//! The vectors of the tokens. A tied head is the same matrix the other way.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};

use super::linear::Size;
use super::quantized::Quantized;
use crate::error::Result;
use crate::weights::Weights;

/// One row for each token, quantized or not.
pub enum Embedding {
    /// `[vocabulary, hidden]`
    Dense(Array),
    /// The same, packed.
    Quantized(Quantized),
}

impl Embedding {
    /// Takes the tensors of `path`. It is quantized if there are scales.
    pub fn load(weights: &mut Weights, path: &str, size: Size) -> Result<Self> {
        if weights.has(path, "scales") {
            return Quantized::load(weights, path, size).map(Self::Quantized);
        }
        weights.take(path, "weight", &[size.rows, size.columns]).map(Self::Dense)
    }

    /// The vectors of these tokens. Token numbers must lie below the number of rows: MLX reads past the end otherwise.
    pub fn forward(&self, ids: &Array) -> MlxResult<Array> {
        match self {
            Self::Dense(weight) => ops::indexing::take_axis(weight, ids, 0),
            Self::Quantized(weight) => weight.rows(ids),
        }
    }

    /// How much each token's vector lies in the direction of `x`: the logits of a tied head.
    pub fn as_linear(&self, x: &Array) -> MlxResult<Array> {
        match self {
            Self::Dense(weight) => x.matmul(&weight.transpose()?),
            Self::Quantized(weight) => weight.matmul(x),
        }
    }
}
