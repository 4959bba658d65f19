//! Root mean square normalization.

use mlx_rs::error::{Exception, Result as MlxResult};
use mlx_rs::{Array, ops};

use crate::array::scalar;
use crate::call::{self, Kind, Operation};
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
        let operation = Operation::of(Kind::RmsNorm, &[self.eps.to_bits().cast_signed()]);
        let normed = call::again(&operation, [x, &self.weight], |result, [x, weight], stream| {
            // SAFETY: both handles outlive the call.
            unsafe { mlx_sys::mlx_fast_rms_norm(result, x, weight, self.eps, stream) }
        });
        normed.ok_or_else(|| {
            Exception::custom(format!("cannot normalize {:?} with {:?}", x.shape(), self.weight.shape()))
        })
    }
}
