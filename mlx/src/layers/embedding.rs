//! The vectors of the tokens. A tied head is the same matrix the other way.

use mlx_rs::Array;
use mlx_rs::error::Result as MlxResult;

use super::matrix::{Matrix, Size};
use crate::error::Result;
use crate::weights::Weights;

/// One row for each token.
pub struct Embedding(Matrix);

impl Embedding {
    /// Takes the tensors of `path`.
    pub fn load(weights: &mut Weights, path: &str, size: Size) -> Result<Self> {
        Matrix::load(weights, path, size).map(Self)
    }

    /// The vectors of these tokens. Token numbers must lie below the number of rows: MLX reads past the end otherwise.
    pub fn forward(&self, ids: &Array) -> MlxResult<Array> {
        self.0.rows(ids)
    }

    /// How much each token's vector lies in the direction of `x`: the logits of a tied head.
    pub fn as_linear(&self, x: &Array) -> MlxResult<Array> {
        self.0.matmul(x)
    }
}
