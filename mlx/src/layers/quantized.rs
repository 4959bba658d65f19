//! Matrices of packed bits with a scale, and in the affine mode a bias, for each group of a row.

mod few_rows;
mod unpack;

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, Dtype, ops};

use self::few_rows::FewRows;
use crate::array::joined;
use crate::config::quantization::{Mode, Packing};
use crate::device;
use crate::error::Result;
use crate::packed::Packed;
use crate::weights::Weights;

pub use crate::packed::Order;

/// The type of unpacked floats where nothing asks for another: MLX's own, which holds all of them exactly.
const UNPACKED: Dtype = Dtype::Bfloat16;

/// One matrix, or several of one size.
pub struct Quantized {
    packed: Packed,
    /// Of unpacked numbers.
    dtype: Dtype,
    /// Size of `x` from which on all numbers are unpacked for one product; `None` for never.
    unpack_from: Option<usize>,
    /// Whether rows of several sequences become those of one matrix.
    flattens: bool,
    /// What multiplies a few such rows where MLX does it slowly.
    few_rows: Option<FewRows>,
}

impl Quantized {
    /// Takes `path.weight`, `path.scales` and, in the affine mode, `path.biases`, for numbers of this shape: rows and
    /// columns, or a count before them.
    pub fn load(weights: &mut Weights, path: &str, packing: Packing, shape: &[i32]) -> Result<Self> {
        let columns = shape.last().copied().unwrap_or(0);
        let words = (i64::from(columns) * i64::from(packing.bits) / 32) as i32;
        let (words, groups) = (ending(shape, words), ending(shape, columns / packing.group_size));
        let weight = weights.take_packed(path, "weight", &words, Dtype::Uint32)?;
        let (scales, biases, dtype) = if packing.mode == Mode::Affine {
            let scales = weights.take(path, "scales", &groups)?;
            let (biases, dtype) = (weights.take(path, "biases", &groups)?, scales.dtype());
            (scales, Some(biases), dtype)
        } else {
            // Bytes that are floats: a cast would make other numbers of them.
            let scales = weights.take_packed(path, "scales", &groups, Dtype::Uint8)?;
            (scales, None, weights.cast().unwrap_or(UNPACKED))
        };
        let unpack_from = weights.unpack_rows().map(|rows| rows * columns as usize);
        let flattens = weights.flattens();
        let few_rows = if flattens { FewRows::of(shape, dtype, packing) } else { None };
        Ok(Self { packed: Packed { weight, scales, biases, packing }, dtype, unpack_from, flattens, few_rows })
    }

    /// One with the rows of all; `None` where they are not packed alike.
    pub fn join(parts: &[&Self]) -> MlxResult<Option<Self>> {
        let Some(first) = parts.first() else { return Ok(None) };
        let is_like_first = |part: &&Self| part.packed.packing == first.packed.packing && part.dtype == first.dtype;
        if !parts.iter().all(is_like_first) {
            return Ok(None);
        }
        let all =
            |array: fn(&Packed) -> &Array| joined(&parts.iter().map(|part| array(&part.packed)).collect::<Vec<_>>());
        let biases: Vec<_> = parts.iter().filter_map(|part| part.packed.biases.as_ref()).collect();
        let biases = if biases.is_empty() { None } else { Some(joined(&biases)?) };
        let (weight, scales) = (all(|packed| &packed.weight)?, all(|packed| &packed.scales)?);
        let Self { dtype, unpack_from, flattens, packed: Packed { packing, .. }, .. } = **first;
        // Rows that all fill blocks do so together.
        let few_rows = if parts.iter().all(|part| part.few_rows.is_some()) { first.few_rows.clone() } else { None };
        Ok(Some(Self { packed: Packed { weight, scales, biases, packing }, dtype, unpack_from, flattens, few_rows }))
    }

    /// Bytes of all arrays.
    pub fn bytes(&self) -> usize {
        let Packed { weight, scales, biases, .. } = &self.packed;
        weight.nbytes() + scales.nbytes() + biases.as_ref().map_or(0, Array::nbytes)
    }

    /// All numbers, with the axes of the matrices.
    pub fn unpacked(&self) -> MlxResult<Array> {
        self.packed.unpack(self.dtype)
    }

    /// All numbers, in memory. Made once, when the model is loaded.
    pub fn unpack(&self) -> MlxResult<Array> {
        match unpack::unpack(&self.packed) {
            Some(numbers) if self.dtype == Dtype::Float32 => Ok(numbers),
            _ => self.unpacked().and_then(|numbers| numbers.eval().map(|()| numbers)),
        }
    }

    /// `x · wᵀ` with one matrix: the last axis of `x` goes from `columns` to `rows`.
    pub fn matmul(&self, x: &Array) -> MlxResult<Array> {
        if self.unpack_from.is_some_and(|least| x.size() >= least) {
            return x.matmul(self.unpacked()?.transpose()?);
        }
        match *x.shape() {
            [batch, tokens, columns] if self.flattens && batch.min(tokens) == 1 => {
                let (rows, blocks) = (batch * tokens, blocks(batch * tokens));
                if let Some(product) = self.few_rows.as_ref().and_then(|few| few.matmul(x, rows, &self.packed)) {
                    return product;
                }
                if (blocks, batch) == (1, 1) {
                    return self.packed.matmul(x);
                }
                self.packed.matmul(&x.reshape(&[blocks, rows / blocks, columns])?)?.reshape(&[batch, tokens, -1])
            }
            _ => self.packed.matmul(x),
        }
    }

    /// `x · wᵀ` with that of several matrices which each of `ids` names; see [`Packed::gather`].
    pub fn gather(&self, x: &Array, ids: &Array, order: Order) -> MlxResult<Array> {
        self.packed.gather(x, ids, order)
    }

    /// Only these rows of one matrix, as plain numbers: `ids` of any shape gets an axis of `columns`.
    pub fn rows(&self, ids: &Array) -> MlxResult<Array> {
        let rows = |array: &Array| ops::indexing::take_axis(array, ids, 0);
        let Packed { weight, scales, biases, packing } = &self.packed;
        let biases = biases.as_ref().map(rows).transpose()?;
        Packed { weight: rows(weight)?, scales: rows(scales)?, biases, packing: *packing }.unpack(self.dtype)
    }
}

/// As how many products of their own so many rows are multiplied by CUDA's kernel: one leaves most of a large GPU idle, and
/// five and more read the weights too often. 28 layers of Llama 3.2 3B, one behind the other, take an H200 11.5, 12.7 and
/// 12.6 ms for 32, 48 and 64 rows as one product, and 8.9, 9.4 and 10.4 ms as such.
fn blocks(rows: i32) -> i32 {
    const BLOCK: i32 = device::BLOCK as i32;
    const MOST: i32 = 5;
    if rows % BLOCK == 0 && rows / BLOCK <= MOST { rows / BLOCK } else { 1 }
}

/// `shape` with another last axis.
fn ending(shape: &[i32], last: i32) -> Vec<i32> {
    let mut shape = shape.to_vec();
    if let Some(end) = shape.last_mut() {
        *end = last;
    }
    shape
}

#[cfg(test)]
#[path = "quantized_tests.rs"]
mod tests;
