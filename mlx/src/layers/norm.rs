//! Root mean square normalization.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, fast, ops};

use crate::array::scalar;
use crate::error::Result;
use crate::weights::Weights;

/// `x / √(mean(x²) + eps) · weight`
pub struct RmsNorm {
    /// `[size]`
    weight: Array,
    eps: f32,
}

impl RmsNorm {
    /// Takes `path.weight`.
    pub fn load(weights: &mut Weights, path: &str, size: i32, eps: f32) -> Result<Self> {
        Ok(Self { weight: weights.take(path, "weight", &[size])?, eps })
    }

    /// Takes `path.weight`, to which Gemma adds 1.
    pub fn load_shifted(weights: &mut Weights, path: &str, size: i32, eps: f32) -> Result<Self> {
        let weight = weights.take(path, "weight", &[size])?;
        let weight = ops::add(&weight, &scalar(1.0, &weight)?)?;
        weight.eval()?;
        Ok(Self { weight, eps })
    }

    /// Over the last axis.
    pub fn forward(&self, x: &Array) -> MlxResult<Array> {
        fast::rms_norm(x, Some(&self.weight), self.eps)
    }
}
