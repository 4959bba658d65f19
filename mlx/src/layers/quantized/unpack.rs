//! Unpacking on the processor, where MLX takes five passes on one thread for what one does on all of them.

use std::num::NonZero;
use std::thread::{self, available_parallelism};

use mlx_rs::{Array, Dtype, ops};

use crate::config::quantization::Mode;
use crate::packed::Packed;

/// Numbers that keep a thread busy for longer than starting it takes.
const PER_THREAD: usize = 1 << 18;

/// The packed words of some groups, and what their codes are multiplied with and added to, one for each group.
#[derive(Clone, Copy)]
struct Groups<'a> {
    words: &'a [u32],
    scales: &'a [f32],
    biases: &'a [f32],
}

/// `code · scale + bias` for all codes, with the axes of the matrices, as MLX rounds it. `None` where the packing is not
/// affine with codes that fill words and 32-bit scales, or the tensors are not yet in memory.
pub fn unpack(packed: &Packed) -> Option<Array> {
    let Packed { weight, scales, biases, packing } = packed;
    let biases = biases.as_ref()?;
    let unpack = match (packing.mode, packing.bits) {
        (Mode::Affine, 2) => groups::<2>,
        (Mode::Affine, 4) => groups::<4>,
        (Mode::Affine, 8) => groups::<8>,
        _ => return None,
    };
    if [scales, biases].iter().any(|array| array.dtype() != Dtype::Float32) {
        return None;
    }
    let (words, scales, biases) =
        (weight.try_as_slice().ok()?, scales.try_as_slice().ok()?, biases.try_as_slice().ok()?);
    let mut shape = weight.shape().to_vec();
    *shape.last_mut()? *= 32 / packing.bits;
    let array = ops::zeros::<f32>(&shape).ok()?;
    array.eval().ok()?;
    // SAFETY: the handle lives; what has no numbers has no place.
    let start = unsafe { mlx_sys::mlx_array_data_float32(array.as_ptr()) }.cast_mut();
    if start.is_null() {
        return None;
    }
    // SAFETY: so many numbers are there, in memory of their own, and nobody else knows of them yet. They are written where
    // they stay: memory of others would be cleared, written and copied.
    let numbers = unsafe { std::slice::from_raw_parts_mut(start, array.size()) };
    in_parallel(Groups { words, scales, biases }, numbers, unpack);
    Some(array)
}

/// Shares the groups out among all processors.
fn in_parallel(all: Groups, numbers: &mut [f32], unpack: fn(Groups, &mut [f32])) {
    let processors = available_parallelism().map_or(1, NonZero::get);
    let threads = (numbers.len() / PER_THREAD).clamp(1, processors);
    let share = all.scales.len().div_ceil(threads).max(1);
    let (words, size) = (all.words.len() / all.scales.len().max(1), numbers.len() / all.scales.len().max(1));
    thread::scope(|scope| {
        for (place, numbers) in numbers.chunks_mut((share * size).max(1)).enumerate() {
            let part = all.part(place * share, share, words);
            scope.spawn(move || unpack(part, numbers));
        }
    });
}

impl Groups<'_> {
    /// Those from `start`, `count` of them or as many as there are, with so many words each.
    fn part(self, start: usize, count: usize, words: usize) -> Self {
        let end = self.scales.len().min(start + count);
        Self {
            words: &self.words[start * words..end * words],
            scales: &self.scales[start..end],
            biases: &self.biases[start..end],
        }
    }
}

fn groups<const BITS: usize>(groups: Groups, numbers: &mut [f32]) {
    let Groups { words, scales, biases } = groups;
    let (words_each, size) = (words.len() / scales.len(), numbers.len() / scales.len());
    let factors = scales.iter().zip(biases);
    let places = words.chunks_exact(words_each).zip(numbers.chunks_exact_mut(size));
    for ((scale, bias), (words, numbers)) in factors.zip(places) {
        for (word, numbers) in words.iter().zip(numbers.chunks_exact_mut(32 / BITS)) {
            for (place, number) in numbers.iter_mut().enumerate() {
                let code = (word >> (place * BITS)) & ((1 << BITS) - 1);
                *number = code.cast_signed() as f32 * scale + bias;
            }
        }
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
