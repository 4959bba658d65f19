//! A matrix of packed bits with a scale and a bias for each group of a row: MLX's affine quantization.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};

use super::matrix::Size;
use crate::error::Result;
use crate::weights::Weights;

const GROUP_SIZES: [i32; 3] = [32, 64, 128];
const BITS: [i32; 6] = [2, 3, 4, 5, 6, 8];

/// `rows × columns` numbers, each `scale · bits + bias` of its group.
pub struct Quantized {
    /// `[rows, columns · bits / 32]` of 32 bits.
    weight: Array,
    /// `[rows, columns / group_size]`
    scales: Array,
    /// As `scales`.
    biases: Array,
    group_size: i32,
    bits: i32,
    /// Size of `x` from which on all numbers are unpacked for one product; `None` for never.
    unpack_from: Option<usize>,
}

impl Quantized {
    /// Takes `path.weight`, `path.scales` and `path.biases`. Their shapes say how many bits and how large a group.
    pub fn load(weights: &mut Weights, path: &str, size: Size) -> Result<Self> {
        let Size { rows, columns } = size;
        let groups = weights.shape(path, "scales")?.last().copied().unwrap_or(0);
        let words = weights.shape(path, "weight")?.last().copied().unwrap_or(0);
        let group_size = GROUP_SIZES.into_iter().find(|size| groups.checked_mul(*size) == Some(columns));
        let bits = BITS.into_iter().find(|bits| i64::from(columns) * i64::from(*bits) == i64::from(words) * 32);
        let (Some(group_size), Some(bits)) = (group_size, bits) else {
            let why =
                format!("{path} has {words} words and {groups} scales in a row, which do not fit {columns} numbers");
            return Err(weights.broken(&why));
        };
        let weight = weights.take_packed(path, "weight", &[rows, words])?;
        let scales = weights.take(path, "scales", &[rows, groups])?;
        let biases = weights.take(path, "biases", &[rows, groups])?;
        let unpack_from = weights.unpack_rows().map(|rows| rows * columns as usize);
        Ok(Self { weight, scales, biases, group_size, bits, unpack_from })
    }

    /// Bytes of the three arrays.
    pub fn bytes(&self) -> usize {
        self.weight.nbytes() + self.scales.nbytes() + self.biases.nbytes()
    }

    /// All numbers, `[rows, columns]`.
    pub fn unpacked(&self) -> MlxResult<Array> {
        ops::dequantize(&self.weight, &self.scales, &self.biases, self.group_size, self.bits)
    }

    /// `x · wᵀ`: the last axis of `x` goes from `columns` to `rows`.
    pub fn matmul(&self, x: &Array) -> MlxResult<Array> {
        if self.unpack_from.is_some_and(|least| x.size() >= least) {
            return x.matmul(self.unpacked()?.transpose()?);
        }
        ops::quantized_matmul(x, &self.weight, &self.scales, &self.biases, true, self.group_size, self.bits)
    }

    /// Only these rows, as plain numbers: `ids` of any shape gets an axis of `columns`.
    pub fn rows(&self, ids: &Array) -> MlxResult<Array> {
        let rows = |array: &Array| ops::indexing::take_axis(array, ids, 0);
        let (weight, scales, biases) = (rows(&self.weight)?, rows(&self.scales)?, rows(&self.biases)?);
        ops::dequantize(&weight, &scales, &biases, self.group_size, self.bits)
    }
}
