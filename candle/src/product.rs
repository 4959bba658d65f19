//! Products with weights in ggml's blocks of 32 numbers, on processors that have AVX2.
//!
//! Candle's own are scalar for `Q4_1`, `Q5_0` and `Q5_1`, and unpack each block again for every row of activations. Here a row of
//! weights is unpacked once for all of them, and a row of activations is rounded to bytes once for all weights.
//! Where the processor has AVX-512's products of bytes (VNNI), a prompt's go three times as fast.
//! The K blocks are Candle's: it adds whole numbers up over 256 of them, and is faster there.

mod avx2;
mod vnni;

use std::ops::Range;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::utils::barrier_pool;
use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor};

use self::avx2::Activations;

/// Numbers of a block.
const BLOCK: usize = 32;

/// Rows of weights that are unpacked together: they stay in the nearest cache while all activations pass by.
const TILE: usize = 16;

/// Fewer activations are not worth putting weights side by side for.
const MANY: usize = 8;

/// The blocks that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

/// What multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Avx2,
    Vnni,
}

/// A matrix of `rows` by `columns`. Made only where the processor has what `avx2` needs.
pub struct Product {
    weights: Box<QTensor>,
    format: Format,
    /// For many activations; a few are always left to `avx2`.
    many: Kernel,
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

    /// # Safety
    /// The places from `place` on are within the buffer, and nobody else's.
    unsafe fn write_all(&self, place: usize, values: &[f32]) {
        // SAFETY: the caller's word; nobody else has what is written to.
        unsafe { self.0.add(place).copy_from_nonoverlapping(values.as_ptr(), values.len()) };
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
                let many = if vnni::is_there() { Kernel::Vnni } else { Kernel::Avx2 };
                Ok(Self { weights, format, many, rows, columns })
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
        let kernel = if count < MANY { Kernel::Avx2 } else { self.many };
        let activations = avx2::round(x, self.columns);
        let weights = self.weights.data()?;
        let mut output = vec![0.0; count * self.rows];
        let target = Target(output.as_mut_ptr());
        let tiles = self.rows.div_ceil(TILE);
        barrier_pool().execute_chunked(tiles, |range| match kernel {
            Kernel::Avx2 => self.tiles(range, &weights, &activations, target),
            Kernel::Vnni => self.tiles_vnni(range, &weights, &activations, target),
        });
        Ok(output)
    }

    fn tiles(&self, range: Range<usize>, weights: &[u8], activations: &Activations, target: Target) {
        for (rows, bytes) in self.each_tile(range, weights) {
            avx2::tile(self.format, bytes, activations, |row, token, value| {
                // SAFETY: a row of weights is in one tile, which one worker has, and the output has a place for each row
                // and token.
                unsafe { target.write(token * self.rows + rows.start + row, value) };
            });
        }
    }

    fn tiles_vnni(&self, range: Range<usize>, weights: &[u8], activations: &Activations, target: Target) {
        for (rows, bytes) in self.each_tile(range, weights) {
            vnni::tile(self.format, bytes, rows.len(), activations, |token, values| {
                // SAFETY: as above; there are as many values as rows.
                unsafe { target.write_all(token * self.rows + rows.start, values) };
            });
        }
    }

    /// The rows of each tile, and their weights.
    fn each_tile<'a>(&self, range: Range<usize>, weights: &'a [u8]) -> impl Iterator<Item = (Range<usize>, &'a [u8])> {
        let (all, width) = (self.rows, weights.len() / self.rows);
        range.map(move |tile| {
            let rows = tile * TILE..all.min((tile + 1) * TILE);
            (rows.clone(), &weights[rows.start * width..rows.end * width])
        })
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
