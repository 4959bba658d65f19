//! Calls of MLX's operations past `mlx-rs`, which copies its stream for each of them: two trips to the allocator, where
//! the graph of a step has seven hundred operations. Here the scope's stream is lent. And what a step asks for many times is
//! set up once: see [`again`].
//!
//! A scope is that of [`crate::device::Device::scope`]. Without one the stream is the thread's default, as in `mlx-rs`.

mod again;

use std::cell::Cell;

use mlx_rs::{Array, Stream, with_stream};
use mlx_sys::{mlx_array, mlx_stream};

pub use self::again::{Kind, Operation};

thread_local! {
    /// The scope's stream, which outlives the scope.
    static STREAM: Cell<Option<mlx_stream>> = const { Cell::new(None) };
}

/// Puts back the stream of the scope around this one, after a panic too.
struct Around(Option<mlx_stream>);

impl Drop for Around {
    fn drop(&mut self) {
        STREAM.set(self.0);
    }
}

/// Runs `work` with every operation on `stream`, those of `mlx-rs` too.
pub fn on<T>(stream: &Stream, work: impl FnOnce() -> T) -> T {
    let _around = Around(STREAM.replace(Some(stream.as_ptr())));
    with_stream(stream, work)
}

/// The array that `call` leaves in its first argument, computed on its second; `None` where it answers an error.
pub fn array(call: impl FnOnce(*mut mlx_array, mlx_stream) -> i32) -> Option<Array> {
    on_stream(|stream| made(call, stream))
}

/// What [`array`] answers, without `call` where this thread has made such an operation before, on arrays of the same shapes
/// and types. `operation` has all that decides what `call` does with `inputs`, whose handles it is given: null ones for
/// those that are absent, which come last.
pub fn again<'a, const COUNT: usize>(
    operation: &Operation,
    inputs: [impl Into<Option<&'a Array>>; COUNT],
    call: impl FnOnce(*mut mlx_array, [mlx_array; COUNT], mlx_stream) -> i32,
) -> Option<Array> {
    let inputs = inputs.map(|input| input.into().map_or_else(none, Array::as_ptr));
    let given = inputs.iter().position(|input| input.ctx.is_null()).unwrap_or(COUNT);
    on_stream(|stream| {
        let known = again::again(operation, &inputs[..given], stream);
        if !known.ctx.is_null() {
            // SAFETY: the handle is new, and nothing else owns it.
            return Some(unsafe { Array::from_ptr(known) });
        }
        let made = made(|result, stream| call(result, inputs, stream), stream)?;
        again::keep(operation, &inputs[..given], made.as_ptr());
        Some(made)
    })
}

/// What an operation is given in the place of an array that it does not need.
pub fn none() -> mlx_array {
    // SAFETY: makes a null handle, which owns nothing.
    unsafe { mlx_sys::mlx_array_new() }
}

fn made(call: impl FnOnce(*mut mlx_array, mlx_stream) -> i32, stream: mlx_stream) -> Option<Array> {
    let mut result = none();
    let status = call(&raw mut result, stream);
    // SAFETY: nothing else owns the result, whatever the call answered; a null handle may be freed too.
    let result = unsafe { Array::from_ptr(result) };
    (status == 0).then_some(result)
}

fn on_stream<T>(call: impl FnOnce(mlx_stream) -> T) -> T {
    match STREAM.get() {
        Some(stream) => call(stream),
        None => call(Stream::thread_local_or_default().as_ptr()),
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
