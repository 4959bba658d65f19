//! What decides how an operation is made, and `again.cpp`, which makes one again that was made before.
//!
//! It is compiled where MLX's headers are known (`build.rs`): where they are not, everything is made as usual.

use std::ffi::c_void;

use mlx_sys::{mlx_array, mlx_stream};

/// The operations that a step makes many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// `mlx_add`
    Add,
    /// `mlx_fast_scaled_dot_product_attention` of one token, without a mask.
    Attention,
    /// A packed product, by a kernel of our own.
    FewRows,
    /// Attention, by a kernel of our own.
    FewTokens,
    /// `mlx_multiply`
    Multiply,
    /// `mlx_quantized_matmul`
    Product,
    /// `mlx_reshape`
    Reshape,
    /// `mlx_fast_rms_norm`
    RmsNorm,
    /// `mlx_fast_rope_dynamic`
    Rope,
    /// `mlx_sigmoid`
    Sigmoid,
    /// `mlx_slice`
    Slice,
    /// `mlx_slice_update`
    Write,
}

/// Numbers that an operation may have beside its arrays.
const MOST: usize = 8;

/// An operation, with all that decides what it does beside its arrays and its stream.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Operation {
    kind: Kind,
    count: u32,
    numbers: [i32; MOST],
}

impl Operation {
    /// One with these numbers, of which there are a few: of a float, the bits.
    pub fn of(kind: Kind, numbers: &[i32]) -> Self {
        let mut all = [0; MOST];
        all[..numbers.len()].copy_from_slice(numbers);
        Self { kind, count: numbers.len() as u32, numbers: all }
    }
}

/// The operation with these arrays, if such a one was kept by this thread; else a null handle.
pub fn again(operation: &Operation, inputs: &[mlx_array], stream: mlx_stream) -> mlx_array {
    // SAFETY: all handles outlive the call, and the list's length is passed.
    let ctx = unsafe { talkied_again(operation, inputs.as_ptr(), inputs.len(), stream) };
    #[cfg(test)]
    MADE.set(MADE.get() + u64::from(!ctx.is_null()));
    mlx_array { ctx }
}

#[cfg(test)]
thread_local! {
    static MADE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many operations this thread has made again.
#[cfg(test)]
pub fn made() -> u64 {
    MADE.get()
}

/// Keeps how `result` was made of these arrays; answers whether it was by one operation on just them.
pub fn keep(operation: &Operation, inputs: &[mlx_array], result: mlx_array) -> bool {
    // SAFETY: all handles outlive the call, and the list's length is passed.
    unsafe { talkied_keep(operation, inputs.as_ptr(), inputs.len(), result) }
}

#[cfg(mlx_headers)]
unsafe extern "C" {
    fn talkied_again(
        operation: *const Operation,
        inputs: *const mlx_array,
        count: usize,
        stream: mlx_stream,
    ) -> *mut c_void;
    fn talkied_keep(operation: *const Operation, inputs: *const mlx_array, count: usize, result: mlx_array) -> bool;
}

#[cfg(not(mlx_headers))]
unsafe fn talkied_again(_: *const Operation, _: *const mlx_array, _: usize, _: mlx_stream) -> *mut c_void {
    std::ptr::null_mut()
}

#[cfg(not(mlx_headers))]
unsafe fn talkied_keep(_: *const Operation, _: *const mlx_array, _: usize, _: mlx_array) -> bool {
    false
}
