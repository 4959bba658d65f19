//! The product itself, written so that the compiler makes vector instructions of it, for two kinds of processor.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the processor of its caller")]

use std::borrow::Cow;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::lanes::Wide;
use super::lanes::{LANES, Lanes, Plain};

/// A matrix in memory, by rows.
#[derive(Clone)]
pub struct Matrix<'a> {
    numbers: Cow<'a, [f32]>,
    /// Of the matrix, whatever way it is stored.
    rows: usize,
    columns: usize,
    /// From one stored row to the next.
    stride: usize,
    /// Whether stored rows are the matrix's columns.
    transposed: bool,
}

impl Matrix<'_> {
    /// A matrix of `[rows, columns]`, stored at `start`, where rows, or columns if `transposed`, are `stride` apart.
    ///
    /// # Safety
    /// The memory lives and is not written to for `'a`.
    pub unsafe fn new(start: *const f32, [rows, columns]: [usize; 2], stride: usize, transposed: bool) -> Self {
        let (lines, length) = if transposed { (columns, rows) } else { (rows, columns) };
        let size = if lines == 0 || length == 0 { 0 } else { (lines - 1) * stride + length };
        // SAFETY: the caller's promise, for as many numbers as the sizes say. An empty slice needs no memory.
        let numbers = if size == 0 { &[] } else { unsafe { std::slice::from_raw_parts(start, size) } };
        Self { numbers: numbers.into(), rows, columns, stride, transposed }
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The stored line `index`: a row, or a column if it is transposed.
    fn line(&self, index: usize) -> &[f32] {
        let length = if self.transposed { self.rows } else { self.columns };
        &self.numbers[index * self.stride..][..length]
    }

    /// The same matrix, its rows stored one after the other.
    fn by_rows(&self) -> Cow<'_, Self> {
        if !self.transposed {
            return Cow::Borrowed(self);
        }
        let numbers = (0..self.rows).flat_map(|row| (0..self.columns).map(move |column| self.line(column)[row]));
        Cow::Owned(Self { numbers: numbers.collect(), stride: self.columns, transposed: false, ..*self })
    }
}

/// These columns of `a · b`, by rows.
pub fn product(a: &Matrix, b: &Matrix, columns: Range<usize>) -> Vec<f32> {
    let mut sums = vec![0.0; a.rows * columns.len()];
    if a.columns == 0 {
        return sums;
    }
    let a = a.by_rows();
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function is compiled for.
        unsafe { wide(&a, b, columns, &mut sums) };
        return sums;
    }
    compute::<Plain>(&a, b, columns, &mut sums);
    sums
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn wide(a: &Matrix, b: &Matrix, columns: Range<usize>, sums: &mut [f32]) {
    compute::<Wide>(a, b, columns, sums);
}

#[inline(always)]
fn compute<L: Lanes>(a: &Matrix, b: &Matrix, columns: Range<usize>, sums: &mut [f32]) {
    if b.transposed {
        return dots::<L>(a, b, columns, sums);
    }
    let width = columns.len();
    for (row, sums) in sums.chunks_mut(width).enumerate() {
        for (k, factor) in a.line(row).iter().enumerate() {
            let line = &b.line(k)[columns.clone()];
            sums.iter_mut().zip(line).for_each(|(sum, number)| *sum += factor * number);
        }
    }
}

/// Rows of `a` times stored lines of `b`, in tiles of twelve sums, which with what they are made of fill sixteen registers.
#[inline(always)]
fn dots<L: Lanes>(a: &Matrix, b: &Matrix, columns: Range<usize>, sums: &mut [f32]) {
    let width = columns.len();
    for column in (0..width).step_by(3) {
        // The last line again where there are no three.
        let lines = [0, 1, 2].map(|i| b.line((columns.start + column + i).min(columns.end - 1)));
        let place = column..width.min(column + 3);
        let mut rows = sums.chunks_mut(width).map(|row| &mut row[place.clone()]);
        let mut row = 0;
        while row + 4 <= a.rows {
            let tile = tile::<4, 3, L>(std::array::from_fn(|i| a.line(row + i)), lines);
            tile.iter().zip(&mut rows).for_each(|(tile, row)| row.copy_from_slice(&tile[..row.len()]));
            row += 4;
        }
        for (row, sums) in (row..a.rows).zip(rows) {
            let [tile] = tile::<1, 3, L>([a.line(row)], lines);
            sums.copy_from_slice(&tile[..sums.len()]);
        }
    }
}

/// The dot product of each of `a` with each of `b`, all of one length.
#[inline(always)]
fn tile<const M: usize, const N: usize, L: Lanes>(a: [&[f32]; M], b: [&[f32]; N]) -> [[f32; N]; M] {
    let (a, b) = (a.map(<[f32]>::as_chunks::<LANES>), b.map(<[f32]>::as_chunks::<LANES>));
    // Cut to one length, which spares a check in the loop.
    let length = a[0].0.len();
    let (chunks_a, chunks_b) = (a.map(|(chunks, _)| &chunks[..length]), b.map(|(chunks, _)| &chunks[..length]));
    let mut sums = [[L::zero(); N]; M];
    for i in 0..length {
        let b = chunks_b.map(|chunks| L::load(&chunks[i]));
        for m in 0..M {
            let a = L::load(&chunks_a[m][i]);
            for n in 0..N {
                sums[m][n] = sums[m][n].add_product(a, b[n]);
            }
        }
    }
    // Loops, not closures: a closure would have the sums in memory, written anew at each turn of the loop above.
    let mut totals = [[0.0; N]; M];
    for m in 0..M {
        for n in 0..N {
            let rest: f32 = a[m].1.iter().zip(b[n].1).map(|(a, b)| a * b).sum();
            totals[m][n] = sums[m][n].total() + rest;
        }
    }
    totals
}

#[cfg(test)]
#[path = "product_tests.rs"]
mod tests;
