//! Calls of MLX's operations past `mlx-rs`, which copies its stream for each of them: two trips to the allocator, where
//! the graph of a step has seven hundred operations. Here the scope's stream is lent.
//!
//! A scope is that of [`crate::device::Device::scope`]. Without one the stream is the thread's default, as in `mlx-rs`.

use std::cell::Cell;

use mlx_rs::{Array, Stream, with_stream};
use mlx_sys::{mlx_array, mlx_stream};

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
    // SAFETY: makes a null handle, which owns nothing.
    let mut result = unsafe { mlx_sys::mlx_array_new() };
    let status = on_stream(|stream| call(&raw mut result, stream));
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
