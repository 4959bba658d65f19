//! A matrix that maps vectors, and what is added after it.

use mlx_rs::Array;
use mlx_rs::error::Result as MlxResult;

use super::matrix::{Matrix, Size};
use crate::array::{add, joined};
use crate::error::Result;
use crate::weights::Weights;

/// Whether something is added after the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// Nothing.
    None,
    /// `path.bias`.
    Added,
}

impl From<bool> for Bias {
    fn from(added: bool) -> Self {
        if added { Self::Added } else { Self::None }
    }
}

/// `x · wᵀ + bias`
pub struct Linear {
    weight: Matrix,
    bias: Option<Array>,
}

impl Linear {
    /// Takes the tensors of `path`.
    pub fn load(weights: &mut Weights, path: &str, size: Size, bias: Bias) -> Result<Self> {
        let weight = Matrix::load(weights, path, size)?;
        let bias = match bias {
            Bias::None => None,
            Bias::Added => Some(weights.take(path, "bias", &[size.rows])?),
        };
        Ok(Self { weight, bias })
    }

    /// One with the rows of all, one part after the other; `None` where they are not packed alike.
    pub fn join(parts: &[Self]) -> Result<Option<Self>> {
        let weights: Vec<_> = parts.iter().map(|part| &part.weight).collect();
        let biases: Vec<_> = parts.iter().filter_map(|part| part.bias.as_ref()).collect();
        let Some(weight) = Matrix::join(&weights)? else { return Ok(None) };
        let bias = match biases.len() {
            0 => None,
            count if count == parts.len() => Some(joined(&biases)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { weight, bias }))
    }

    /// `[…, columns]` to `[…, rows]`
    pub fn forward(&self, x: &Array) -> MlxResult<Array> {
        let product = self.weight.matmul(x)?;
        match &self.bias {
            Some(bias) => add(&product, bias),
            None => Ok(product),
        }
    }
}
