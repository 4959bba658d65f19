//! Products of a few rows with packed numbers on CUDA, by a kernel of our own: MLX's own for more than one row read the weights
//! at a twentieth of what the memory gives.
//!
//! A thread has it compiled while weights are read, where this machine has not seen it before; until then the product is MLX's.

mod kernel;

use std::cell::RefCell;
use std::io;

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype};

use crate::call::{self, Operation};
use crate::config::quantization::{Mode, Packing};
use crate::device;
use crate::kernels::compiled::{Compiled, Ready};
use crate::kernels::custom::{Custom, Start};
use crate::kernels::nvrtc;
use crate::packed::Packed;

/// For more, MLX's kernel for whole prompts is as good.
const MOST: i32 = 192;
/// For so many the kernel takes fewer registers, and a processor of the GPU more of its blocks.
const MOST_OF_SMALL: i32 = 16;

/// Vectors that a block multiplies, rows of the matrix that it multiplies them with, its warps, and columns that a warp takes at
/// a time. The kernel's indices are made for these.
const TOKENS: i32 = 64;
const ROWS: i32 = 32;
const WARPS: i32 = 8;
const CHUNK: i32 = 64;

/// The kernels for one way of packing.
#[derive(Clone)]
pub struct FewRows {
    kind: Kind,
    ready: Ready,
}

/// What kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    dtype: Dtype,
    group_size: i32,
    /// The GPU's compute capability.
    capability: [usize; 2],
}

impl Kind {
    /// That of a matrix of `shape`, rows and columns, whose scales have this type.
    fn of(shape: &[i32], dtype: Dtype, packing: Packing, capability: [usize; 2]) -> Option<Self> {
        let Packing { mode, group_size, bits } = packing;
        let &[rows, columns] = shape else { return None };
        let fits = rows % ROWS == 0 && columns % CHUNK.max(group_size) == 0;
        let is_known = mode == Mode::Affine && bits == 4 && [64, 128].contains(&group_size);
        // Of those before, not all have units for both types.
        let has_units = matches!(dtype, Dtype::Float16 | Dtype::Bfloat16) && capability >= [8, 0];
        (fits && is_known && has_units).then_some(Self { dtype, group_size, capability })
    }
}

impl FewRows {
    /// For a matrix of `shape`, rows and columns; `None` where the kernel does not know such numbers. The first of a kind
    /// has it compiled.
    pub fn of(shape: &[i32], dtype: Dtype, packing: Packing) -> Option<Self> {
        static ALL: Compiled<Kind> = Compiled::new();
        let kind = Kind::of(shape, dtype, packing, device::capability()?)?;
        Some(Self { kind, ready: ALL.of(kind, compile) })
    }

    /// `x · wᵀ` for `x` of `[…, columns]` with `rows` vectors; `None` where that is not for this kernel, or it is not
    /// compiled yet.
    pub fn matmul(&self, x: &Array, rows: i32, packed: &Packed) -> Option<Result<Array>> {
        let serves = rows <= MOST && x.dtype() == self.kind.dtype && self.ready.get();
        serves.then(|| product(x, rows, packed, self.kind))
    }
}

/// Has MLX find the kernels.
fn compile(kind: Kind) -> io::Result<()> {
    for is_small in [true, false] {
        kernel::own(kind, is_small).put(|text| nvrtc::compile(text, kind.capability))?;
    }
    Ok(())
}

fn product(x: &Array, rows: i32, packed: &Packed, kind: Kind) -> Result<Array> {
    thread_local! {
        /// Those that this thread has used.
        static KERNELS: RefCell<Vec<((Kind, bool), Custom)>> = const { RefCell::new(Vec::new()) };
    }
    let Packed { weight, scales, biases, .. } = packed;
    let failed = || Exception::custom(format!("cannot multiply {:?} with {:?}", x.shape(), weight.shape()));
    let biases = biases.as_ref().ok_or_else(failed)?;
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = weight.shape()[0];
    }
    let wanted = (kind, rows <= MOST_OF_SMALL);
    let result = KERNELS.with_borrow_mut(|kernels| {
        let known = kernels.iter().position(|(known, _)| *known == wanted);
        let place = known.unwrap_or_else(|| {
            kernels.push((wanted, Custom::new(&kernel::own(wanted.0, wanted.1))));
            kernels.len() - 1
        });
        // Those of this thread stay where they are.
        let operation = Operation::of(call::Kind::FewRows, &[place as i32]);
        call::again(&operation, [x, weight, scales, biases], |result, inputs, stream| {
            let blocks = [weight.shape()[0] / ROWS, (rows + TOKENS - 1) / TOKENS, 1];
            let start = Start { shape: &shape, dtype: kind.dtype, blocks, threads: WARPS * 32 };
            kernels[place].1.apply(result, &inputs, &start, stream)
        })
    });
    result.ok_or_else(failed)
}

#[cfg(test)]
#[path = "few_rows_tests.rs"]
mod tests;
