//! Matrix products for MLX on a Linux processor, in place of the reference BLAS that its wheel brings.
//!
//! MLX multiplies 32-bit floats by calling `cblas_sgemm`. The loader takes a program's own symbol before a library's,
//! so that call comes here. The reference is one scalar loop: 8 times slower with one row, 15 times with 128. macOS
//! binds symbols to libraries and brings a BLAS of its own; this module does not exist there.

mod lanes;
mod product;

use std::num::NonZero;
use std::ops::Range;
use std::sync::LazyLock;
use std::thread::{self, available_parallelism};

use self::product::{Matrix, product};

/// Asked once: the answer is read from files.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZero::get));

/// Multiplications that keep a thread busy for longer than starting it takes.
const PER_THREAD: usize = 2 << 20;

/// `c = alpha · op(a) · op(b) + beta · c`, where `op` transposes or not.
///
/// # Safety
/// As for every BLAS: the three matrices have the sizes that the numbers say, and `c` overlaps neither of the others.
// SAFETY: the symbol is meant to stand in for the library's, and has its meaning.
#[unsafe(no_mangle)]
#[expect(clippy::many_single_char_names, reason = "the names are BLAS's")]
unsafe extern "C" fn cblas_sgemm(
    layout: i32,
    transpose_a: i32,
    transpose_b: i32,
    m: i32,
    n: i32,
    k: i32,
    alpha: f32,
    a: *const f32,
    lda: i32,
    b: *const f32,
    ldb: i32,
    beta: f32,
    c: *mut f32,
    ldc: i32,
) {
    const ROW_MAJOR: i32 = 101;
    const PLAIN: i32 = 111;
    if layout != ROW_MAJOR {
        // By columns, what is stored is the transpose of each matrix: cᵀ = bᵀ · aᵀ.
        // SAFETY: the caller's promise, with the operands exchanged.
        return unsafe {
            cblas_sgemm(ROW_MAJOR, transpose_b, transpose_a, n, m, k, alpha, b, ldb, a, lda, beta, c, ldc);
        };
    }
    let [m, n, k, lda, ldb, ldc] = [m, n, k, lda, ldb, ldc].map(|size| usize::try_from(size).unwrap_or(0));
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    let (a, b, c) = unsafe {
        let a = Matrix::new(a, [m, k], lda, transpose_a != PLAIN);
        let b = Matrix::new(b, [k, n], ldb, transpose_b != PLAIN);
        (a, b, std::slice::from_raw_parts_mut(c, (m - 1) * ldc + n))
    };
    for (columns, part) in parts(&a, &b, n) {
        let rows = part.chunks(columns.len()).zip(c.chunks_mut(ldc));
        rows.for_each(|(part, row)| add(part, &mut row[columns.clone()], alpha, beta));
    }
}

/// `a · b` in ranges of columns, one thread each. The caller's thread computes the last.
fn parts(a: &Matrix, b: &Matrix, columns: usize) -> Vec<(Range<usize>, Vec<f32>)> {
    let work = a.rows() * a.columns() * columns;
    let threads = (work / PER_THREAD).clamp(1, *PROCESSORS);
    // Sixteen floats fill a cache line: no two threads write to the same one.
    let width = columns.div_ceil(threads).next_multiple_of(16);
    let mut ranges: Vec<_> = (0..columns).step_by(width).map(|start| start..columns.min(start + width)).collect();
    let compute = |range: Range<usize>| (range.clone(), product(a, b, range));
    let last = ranges.pop().map(|range| (range, compute));
    thread::scope(|scope| {
        let running: Vec<_> = ranges.into_iter().map(|range| scope.spawn(move || compute(range))).collect();
        let last = last.map(|(range, compute)| compute(range));
        let done = running.into_iter().map(|thread| thread.join().expect("a product does not panic"));
        done.chain(last).collect()
    })
}

/// `row = alpha · part + beta · row`. What `row` held is not even looked at where `beta` is 0: it may be no number.
fn add(part: &[f32], row: &mut [f32], alpha: f32, beta: f32) {
    let nothing = beta.abs() <= 0.0;
    for (part, sum) in part.iter().zip(row) {
        *sum = alpha * part + if nothing { 0.0 } else { beta * *sum };
    }
}

#[cfg(test)]
#[path = "blas_tests.rs"]
mod tests;
