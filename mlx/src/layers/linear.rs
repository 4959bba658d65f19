//! A matrix that maps vectors, and what is added after it.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};

use super::matrix::{Matrix, Size};
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

    /// `[…, columns]` to `[…, rows]`
    pub fn forward(&self, x: &Array) -> MlxResult<Array> {
        let product = self.weight.matmul(x)?;
        match &self.bias {
            Some(bias) => ops::add(&product, bias),
            None => Ok(product),
        }
    }
}
