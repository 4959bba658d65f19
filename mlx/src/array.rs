//! Operations on arrays that `mlx-rs` lacks, wraps with a panic, or runs outside the scope's stream.

use std::ops::Range;

use mlx_rs::error::{Exception, Result};
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Dtype, Stream, ops, transforms};

use crate::call::{self, Kind, Operation};

/// `a + b`, each as large as the other or repeated to that.
pub fn add(a: &Array, b: &Array) -> Result<Array> {
    let operation = Operation::of(Kind::Add, &[]);
    // SAFETY: both handles outlive the call.
    let sum =
        call::again(&operation, [a, b], |result, [a, b], stream| unsafe { mlx_sys::mlx_add(result, a, b, stream) });
    sum.ok_or_else(|| Exception::custom(format!("cannot add {:?} and {:?}", a.shape(), b.shape())))
}

/// `a · b` number by number, each as large as the other or repeated to that.
pub fn multiply(a: &Array, b: &Array) -> Result<Array> {
    let operation = Operation::of(Kind::Multiply, &[]);
    // SAFETY: both handles outlive the call.
    let product = call::again(&operation, [a, b], |result, [a, b], stream| unsafe {
        mlx_sys::mlx_multiply(result, a, b, stream)
    });
    product.ok_or_else(|| Exception::custom(format!("cannot multiply {:?} and {:?}", a.shape(), b.shape())))
}

/// `1 / (1 + exp(-x))`
pub fn sigmoid(x: &Array) -> Result<Array> {
    let operation = Operation::of(Kind::Sigmoid, &[]);
    // SAFETY: the handle outlives the call.
    let curve = call::again(&operation, [x], |result, [x], stream| unsafe { mlx_sys::mlx_sigmoid(result, x, stream) });
    curve.ok_or_else(|| Exception::custom(format!("no sigmoid of {:?}", x.shape())))
}

/// The same numbers with other axes.
pub fn reshape<const AXES: usize>(x: &Array, axes: [i32; AXES]) -> Result<Array> {
    let operation = Operation::of(Kind::Reshape, &axes);
    // SAFETY: the handle and the list outlive the call, and its length is passed.
    let same = call::again(&operation, [x], |result, [x], stream| unsafe {
        mlx_sys::mlx_reshape(result, x, axes.as_ptr(), AXES, stream)
    });
    same.ok_or_else(|| Exception::custom(format!("cannot read {:?} as {axes:?}", x.shape())))
}

/// Token numbers as an array of shape `[n]`.
pub fn tokens(ids: &[u32]) -> Array {
    Array::from_slice(ids, &[ids.len() as i32])
}

/// `value` in the type of `like`: MLX would widen a 16-bit array that meets a 32-bit scalar.
pub fn scalar(value: f32, like: &Array) -> Result<Array> {
    Array::from_f32(value).as_dtype(like.dtype())
}

/// The entries from `start` to before `end` of the next to last axis of an array with four axes; a view.
pub fn rows(array: &Array, start: i32, end: i32) -> Result<Array> {
    let &[batch, heads, _, dims] = array.shape() else {
        return Err(Exception::custom(format!("no rows in the shape {:?}", array.shape())));
    };
    slice(array, [0, 0, start, 0], [batch, heads, end, dims])
}

/// Some entries of the first axis and some of the next to last of an array with four axes; a view.
pub fn block(array: &Array, first: Range<i32>, third: Range<i32>) -> Result<Array> {
    let &[_, heads, _, dims] = array.shape() else {
        return Err(Exception::custom(format!("no blocks in the shape {:?}", array.shape())));
    };
    slice(array, [first.start, 0, third.start, 0], [first.end, heads, third.end, dims])
}

/// The rows of all, one part after the other, on their way to memory.
pub fn joined(parts: &[&Array]) -> Result<Array> {
    let joined = ops::concatenate(parts, 0)?;
    transforms::async_eval([&joined])?;
    Ok(joined)
}

/// The heads from `start` to before `end` of an array `[rows, heads, tokens, dims]`; a view.
pub fn heads(array: &Array, start: i32, end: i32) -> Result<Array> {
    let &[batch, _, tokens, dims] = array.shape() else {
        return Err(Exception::custom(format!("no heads in the shape {:?}", array.shape())));
    };
    slice(array, [0, start, 0, 0], [batch, end, tokens, dims])
}

/// `count` entries from `start` of the last axis of an array with three axes; a view.
pub fn columns(array: &Array, start: i32, count: i32) -> Result<Array> {
    let &[batch, tokens, _] = array.shape() else {
        return Err(Exception::custom(format!("no columns in the shape {:?}", array.shape())));
    };
    slice(array, [0, 0, start], [batch, tokens, start + count])
}

/// The entries from `start` to before `end` of the middle axis of an array with three axes; a view.
pub fn tokens_of(array: &Array, start: i32, end: i32) -> Result<Array> {
    let &[batch, _, dims] = array.shape() else {
        return Err(Exception::custom(format!("no tokens in the shape {:?}", array.shape())));
    };
    slice(array, [0, start, 0], [batch, end, dims])
}

/// The entries from `start` to before `end` of the first axis of an array with one axis or two; a view.
pub fn part(array: &Array, start: i32, end: i32) -> Result<Array> {
    match *array.shape() {
        [_] => slice(array, [start], [end]),
        [_, columns] => slice(array, [start, 0], [end, columns]),
        _ => Err(Exception::custom(format!("no parts of the shape {:?}", array.shape()))),
    }
}

/// What lies from `start` to before `stop` of an array with as many axes; a view. `mlx-rs`'s own indexing takes five
/// operations and as many allocations for it, which a step of many layers feels.
fn slice<const AXES: usize>(array: &Array, start: [i32; AXES], stop: [i32; AXES]) -> Result<Array> {
    let by = [1i32; AXES];
    let operation = Operation::of(Kind::Slice, [start, stop].as_flattened());
    let result = call::again(&operation, [array], |result, [array], stream| {
        let (from, to, by) = (start.as_ptr(), stop.as_ptr(), by.as_ptr());
        // SAFETY: all handles outlive the call, and lengths are those of the arrays passed.
        unsafe { mlx_sys::mlx_slice(result, array, from, AXES, to, AXES, by, AXES, stream) }
    });
    result.ok_or_else(|| Exception::custom(format!("cannot take {start:?} to {stop:?} of {:?}", array.shape())))
}

/// The entries from `start` of an array with one axis.
pub fn tail(array: &Array, start: i32) -> Result<Array> {
    array.try_index_device(start.., Stream::thread_local_or_default())
}

/// Whether values of this type are weights of a layer, as opposed to packed bits or numbers.
pub fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::Float16 | Dtype::Bfloat16 | Dtype::Float32 | Dtype::Float64)
}

/// `array` with `update` at `start`, both with four axes.
///
/// Takes the handle: MLX writes in place only when nothing else holds the buffer, and copies all of it otherwise.
/// `mlx-rs`'s own assignment reshapes the update twice on its way here.
#[expect(clippy::needless_pass_by_value, reason = "the handle must be gone when the graph runs")]
pub fn write(array: Array, update: &Array, start: [i32; 4]) -> Result<Array> {
    let size = update.shape();
    let mut stop = start;
    for (stop, size) in stop.iter_mut().zip(size) {
        *stop += size;
    }
    let by = [1i32; 4];
    let operation = Operation::of(Kind::Write, [start, stop].as_flattened());
    let result = call::again(&operation, [&array, update], |result, [array, update], stream| {
        let (from, to, by) = (start.as_ptr(), stop.as_ptr(), by.as_ptr());
        // SAFETY: all handles outlive the call, and lengths are those of the arrays passed.
        unsafe { mlx_sys::mlx_slice_update(result, array, update, from, 4, to, 4, by, 4, stream) }
    });
    result.ok_or_else(|| Exception::custom(format!("cannot write {size:?} at {start:?} of {:?}", array.shape())))
}
