//! A matrix that maps vectors, quantized or not.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};

use super::quantized::Quantized;
use crate::error::Result;
use crate::weights::Weights;

/// Of a matrix as it is stored: one row for each number that comes out.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Numbers that come out.
    pub rows: i32,
    /// Numbers that go in.
    pub columns: i32,
}

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
    matrix: Matrix,
    bias: Option<Array>,
}

enum Matrix {
    /// `[columns, rows]`, a transposed view of the tensor.
    Dense(Array),
    Quantized(Quantized),
}

impl Linear {
    /// Takes the tensors of `path`. It is quantized if there are scales.
    pub fn load(weights: &mut Weights, path: &str, size: Size, bias: Bias) -> Result<Self> {
        let matrix = if weights.has(path, "scales") {
            Matrix::Quantized(Quantized::load(weights, path, size)?)
        } else {
            let weight = weights.take(path, "weight", &[size.rows, size.columns])?.transpose()?;
            weight.eval()?;
            Matrix::Dense(weight)
        };
        let bias = match bias {
            Bias::None => None,
            Bias::Added => Some(weights.take(path, "bias", &[size.rows])?),
        };
        Ok(Self { matrix, bias })
    }

    /// `[…, columns]` to `[…, rows]`
    pub fn forward(&self, x: &Array) -> MlxResult<Array> {
        match (&self.matrix, &self.bias) {
            (Matrix::Dense(weight), None) => x.matmul(weight),
            (Matrix::Dense(weight), Some(bias)) => ops::addmm(bias, x, weight, None, None),
            (Matrix::Quantized(weight), None) => weight.matmul(x),
            (Matrix::Quantized(weight), Some(bias)) => ops::add(&weight.matmul(x)?, bias),
        }
    }
}
