//! From a token's last vector to its logits.

use mlx_rs::Array;
use mlx_rs::error::Result as MlxResult;

use super::embedding::Embedding;
use super::linear::{Bias, Linear};
use super::matrix::Size;
use crate::error::Result;
use crate::weights::Weights;

/// Where a model's head comes from.
pub enum Head {
    /// The embedding, the other way round.
    Tied,
    /// A matrix of its own.
    Own(Linear),
}

impl Head {
    /// Takes the tensors of `path`, or drops them where the head is tied: some exports carry both.
    pub fn load(weights: &mut Weights, path: &str, size: Size, tied: bool) -> Result<Self> {
        if tied {
            let unneeded = format!("{path}.");
            weights.discard(|name| name.starts_with(&unneeded));
            return Ok(Self::Tied);
        }
        Linear::load(weights, path, size, Bias::None).map(Self::Own)
    }

    /// `[…, hidden]` to `[…, vocabulary]`
    pub fn forward(&self, embedding: &Embedding, x: &Array) -> MlxResult<Array> {
        match self {
            Self::Tied => embedding.as_linear(x),
            Self::Own(head) => head.forward(x),
        }
    }
}
