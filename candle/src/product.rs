//! Products with weights in ggml's blocks of 32 numbers, on processors that have AVX2.
//!
//! Candle's own are scalar for `Q4_1`, `Q5_0` and `Q5_1`, and unpack each block again for every row of activations. Here a row of
//! weights is unpacked once for all of them, and a row of activations is rounded to bytes once for all weights.
//! The K blocks are Candle's: it adds whole numbers up over 256 of them, and is faster there.

mod avx2;

use std::ops::Range;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::utils::barrier_pool;
use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor};

use self::avx2::Activations;

/// Numbers of a block.
const BLOCK: usize = 32;

/// Rows of weights that are unpacked together: they stay in the nearest cache while all activations pass by.
const TILE: usize = 16;

/// The blocks that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

/// A matrix of `rows` by `columns`. Made only where the processor has what `avx2` needs.
pub struct Product {
    weights: Box<QTensor>,
    format: Format,
    rows: usize,
    columns: usize,
}

/// Where the workers write, each in columns of its own.
#[derive(Clone, Copy)]
struct Target(*mut f32);

// SAFETY: workers write disjoint places of a buffer that outlives them.
unsafe impl Sync for Target {}

impl Target {
    /// # Safety
    /// `place` is within the buffer, and nobody else's.
    unsafe fn write(&self, place: usize, value: f32) {
        // SAFETY: the caller's word.
        unsafe { self.0.add(place).write(value) };
    }
}

impl Format {
    fn of(dtype: GgmlDType) -> Option<Self> {
        match dtype {
            GgmlDType::Q4_0 => Some(Self::Q4_0),
            GgmlDType::Q4_1 => Some(Self::Q4_1),
            GgmlDType::Q5_0 => Some(Self::Q5_0),
            GgmlDType::Q5_1 => Some(Self::Q5_1),
            GgmlDType::Q8_0 => Some(Self::Q8_0),
            _ => None,
        }
    }
}

impl Product {
    /// Whether this processor has what it needs.
    pub fn is_there() -> bool {
        avx2::is_there()
    }

    /// `weights` themselves come back where Candle must multiply.
    pub fn new(weights: Box<QTensor>) -> std::result::Result<Self, Box<QTensor>> {
        let (format, size) = (Format::of(weights.dtype()), weights.shape().dims2());
        match (format, size) {
            // Columns are whole blocks in each tensor that Candle makes.
            (Some(format), Ok((rows, columns))) if weights.device().is_cpu() && Self::is_there() => {
                Ok(Self { weights, format, rows, columns })
            }
            _ => Err(weights),
        }
    }

    /// The rows that `ids` name.
    pub fn embedding(&self, ids: &Tensor) -> Result<Tensor> {
        self.weights.embedding(ids)
    }

    fn multiply(&self, x: &[f32]) -> Result<Vec<f32>> {
        let count = x.len() / self.columns;
        let activations = avx2::round(x, self.columns);
        let weights = self.weights.data()?;
        let mut output = vec![0.0; count * self.rows];
        let target = Target(output.as_mut_ptr());
        let tiles = self.rows.div_ceil(TILE);
        barrier_pool().execute_chunked(tiles, |range| self.tiles(range, &weights, &activations, target));
        Ok(output)
    }

    fn tiles(&self, range: Range<usize>, weights: &[u8], activations: &Activations, target: Target) {
        let width = weights.len() / self.rows;
        for tile in range {
            let rows = tile * TILE..self.rows.min((tile + 1) * TILE);
            let bytes = &weights[rows.start * width..rows.end * width];
            avx2::tile(self.format, bytes, activations, |row, token, value| {
                // SAFETY: a row of weights is in one tile, which one worker has, and the output has a place for each row
                // and token.
                unsafe { target.write(token * self.rows + rows.start + row, value) };
            });
        }
    }
}

impl Module for Product {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1_no_bwd(self)
    }
}

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("activations must be contiguous")
        };
        let mut dims = layout.dims().to_vec();
        if dims.last() != Some(&self.columns) {
            candle_core::bail!("{dims:?} does not fit {} columns", self.columns)
        }
        let x = &storage.as_slice::<f32>()?[start..end];
        if let Some(last) = dims.last_mut() {
            *last = self.rows;
        }
        Ok((CpuStorage::F32(self.multiply(x)?), dims.into()))
    }
}

#[cfg(test)]
#[path = "product_tests.rs"]
mod tests;
