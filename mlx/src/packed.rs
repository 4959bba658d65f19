//! Packed numbers, of weights and of caches, and MLX's operations on them, which `mlx-rs` has for the affine mode only.

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype, ops};
use mlx_sys::{mlx_array, mlx_optional_dtype, mlx_optional_int};

use crate::call::{self, Kind, Operation};
use crate::config::quantization::{Mode, Packing};

/// Packed numbers as MLX takes them.
#[derive(Clone)]
pub struct Packed {
    /// `[…, rows, columns · bits / 32]` of 32 bits.
    pub weight: Array,
    /// `[…, rows, columns / group_size]`
    pub scales: Array,
    /// As `scales`, in the affine mode.
    pub biases: Option<Array>,
    /// What they mean.
    pub packing: Packing,
}

/// In which order the matrices of a gathered product are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As it comes.
    Any,
    /// By their number, which spares a GPU loads.
    Sorted,
}

/// Which way round the matrix of a product is.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// As it lies.
    None,
    /// Its rows as columns.
    Transposed,
}

impl Packed {
    /// `numbers` with axes `[…, rows, columns]`, packed in the affine mode: each group of a row between its least and
    /// its greatest.
    pub fn pack(numbers: &Array, group_size: i32, bits: i32) -> Result<Self> {
        let (weight, scales, biases) = ops::quantize(numbers, group_size, bits)?;
        let packing = Packing { mode: Mode::Affine, group_size, bits };
        Ok(Self { weight, scales, biases: Some(biases), packing })
    }

    /// What it consists of.
    pub fn arrays(&self) -> [Option<&Array>; 3] {
        [Some(&self.weight), Some(&self.scales), self.biases.as_ref()]
    }

    /// All numbers in a floating-point type, `[…, rows, columns]`.
    pub fn unpack(&self, dtype: Dtype) -> Result<Array> {
        let Self { weight, scales, packing, .. } = self;
        let dtype = mlx_optional_dtype { value: dtype as mlx_sys::mlx_dtype, has_value: true };
        self.called("unpack", |result, stream| {
            // SAFETY: all handles outlive the call; MLX takes the absent ones as none.
            unsafe {
                let none = call::none();
                let (biases, (group_size, bits), mode) = (self.biases(), packing.sizes(), packing.mode.name().as_ptr());
                let (weight, scales) = (weight.as_ptr(), scales.as_ptr());
                mlx_sys::mlx_dequantize(result, weight, scales, biases, group_size, bits, mode, none, dtype, stream)
            }
        })
    }

    /// `x · wᵀ`: the last axis of `x` goes from `columns` to `rows`.
    pub fn matmul(&self, x: &Array) -> Result<Array> {
        self.product(x, Turn::Transposed)
    }

    /// `x · w`: the last axis of `x` goes from `rows` to `columns`.
    pub fn mix(&self, x: &Array) -> Result<Array> {
        self.product(x, Turn::None)
    }

    fn product(&self, x: &Array, turn: Turn) -> Result<Array> {
        let Packing { mode, group_size, bits } = self.packing;
        let turned = matches!(turn, Turn::Transposed);
        let operation = Operation::of(Kind::Product, &[i32::from(turned), mode as i32, group_size, bits]);
        let inputs = [Some(x), Some(&self.weight), Some(&self.scales), self.biases.as_ref()];
        let product = call::again(&operation, inputs, |result, [x, weight, scales, biases], stream| {
            let (group_size, bits) = self.packing.sizes();
            // SAFETY: all handles outlive the call; MLX takes an absent one as none.
            unsafe {
                let mode = mode.name().as_ptr();
                mlx_sys::mlx_quantized_matmul(result, x, weight, scales, biases, turned, group_size, bits, mode, stream)
            }
        });
        self.given("multiply with", product)
    }

    /// `x · wᵀ` with the matrix that each of `ids` names: the leading axes of `x` and those of `ids` become one shape.
    pub fn gather(&self, x: &Array, ids: &Array, order: Order) -> Result<Array> {
        let Self { weight, scales, packing, .. } = self;
        let sorted = order == Order::Sorted;
        self.called("multiply with some of", |result, stream| {
            // SAFETY: all handles outlive the call; MLX takes the absent ones as none.
            unsafe {
                let none = call::none();
                let (biases, (group_size, bits), mode) = (self.biases(), packing.sizes(), packing.mode.name().as_ptr());
                let (x, weight, scales, ids) = (x.as_ptr(), weight.as_ptr(), scales.as_ptr(), ids.as_ptr());
                mlx_sys::mlx_gather_qmm(
                    result, x, weight, scales, biases, none, ids, true, group_size, bits, mode, sorted, stream,
                )
            }
        })
    }

    /// A null handle where there are none.
    fn biases(&self) -> mlx_array {
        self.biases.as_ref().map_or_else(call::none, Array::as_ptr)
    }

    /// What `call` leaves in the result.
    fn called(&self, what: &str, call: impl FnOnce(*mut mlx_array, mlx_sys::mlx_stream) -> i32) -> Result<Array> {
        self.given(what, call::array(call))
    }

    fn given(&self, what: &str, result: Option<Array>) -> Result<Array> {
        result.ok_or_else(|| {
            Exception::custom(format!("cannot {what} {:?}, packed as {}", self.weight.shape(), self.packing))
        })
    }
}

impl Packing {
    fn sizes(self) -> (mlx_optional_int, mlx_optional_int) {
        let some = |value| mlx_optional_int { value, has_value: true };
        (some(self.group_size), some(self.bits))
    }
}
