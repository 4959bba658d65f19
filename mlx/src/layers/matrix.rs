//! The matrices of all layers: plain numbers, or packed ones that are unpacked where that is faster.

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

/// `rows × columns` numbers.
pub enum Matrix {
    /// Plain ones, and the same buffer the other way round.
    Dense {
        /// `[rows, columns]`
        weight: Array,
        /// `[columns, rows]`
        transposed: Array,
    },
    /// Packed ones.
    Quantized(Quantized),
}

impl Matrix {
    /// Takes the tensors of `path`. It is quantized if there are scales.
    pub fn load(weights: &mut Weights, path: &str, size: Size) -> Result<Self> {
        let shape = [size.rows, size.columns];
        let Some(packing) = weights.packing(path, size.columns)? else {
            return Self::dense(weights.take(path, "weight", &shape)?);
        };
        let quantized = Quantized::load(weights, path, packing, &shape)?;
        if !weights.unpacks() {
            return Ok(Self::Quantized(quantized));
        }
        let dense = quantized.unpack()?;
        weights.replace(quantized.bytes(), dense.nbytes());
        Self::dense(dense)
    }

    fn dense(weight: Array) -> Result<Self> {
        let transposed = weight.transpose()?;
        transposed.eval()?;
        Ok(Self::Dense { weight, transposed })
    }

    /// One with the rows of all; `None` where they are not packed, or not alike.
    pub fn join(parts: &[&Self]) -> Result<Option<Self>> {
        let packed = parts.iter().map(|part| match part {
            Self::Quantized(quantized) => Some(quantized),
            Self::Dense { .. } => None,
        });
        let Some(packed) = packed.collect::<Option<Vec<_>>>() else { return Ok(None) };
        Ok(Quantized::join(&packed)?.map(Self::Quantized))
    }

    /// `x · wᵀ`: the last axis of `x` goes from `columns` to `rows`.
    pub fn matmul(&self, x: &Array) -> MlxResult<Array> {
        match self {
            Self::Dense { transposed, .. } => x.matmul(transposed),
            Self::Quantized(quantized) => quantized.matmul(x),
        }
    }

    /// Only these rows: `ids` of any shape gets an axis of `columns`.
    pub fn rows(&self, ids: &Array) -> MlxResult<Array> {
        match self {
            Self::Dense { weight, .. } => ops::indexing::take_axis(weight, ids, 0),
            Self::Quantized(quantized) => quantized.rows(ids),
        }
    }
}
