//! The arithmetic, in registers of 32 bytes. Nothing here may be called where not [`is_there`].

pub mod packing;

use std::arch::x86_64::{
    __m128, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_ps, _mm_max_ps, _mm_max_ss,
    _mm_movehdup_ps, _mm_movehl_ps, _mm_mul_ps, _mm_setzero_ps, _mm_storeu_ps, _mm256_add_epi32, _mm256_andnot_ps,
    _mm256_broadcastss_ps, _mm256_castps256_ps128, _mm256_cvtepi32_ps, _mm256_cvtps_epi32, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_ps,
    _mm256_mul_ps, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permutevar8x32_epi32, _mm256_set1_epi16,
    _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps, _mm256_sign_epi8, _mm256_storeu_si256,
};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::utils::barrier_pool;

use self::packing::Block;
use super::{BLOCK, Format};

/// Rows of activations that meet a row of weights at once.
pub const GROUP: usize = 4;

/// Activations as bytes, with a scale for each block. Of [`GROUP`] rows the first blocks stand beside each other, then the
/// second ones; rows beyond the last whole group stand alone.
pub struct Activations {
    pub bytes: Vec<[i8; BLOCK]>,
    /// What meets a [`Block`]'s line: scale and sum of the numbers; then the sum of the bytes, and zero.
    pub lines: Vec<[f32; 4]>,
    /// Blocks of a row.
    pub blocks: usize,
}

/// A [`Block`] in memory.
#[derive(Clone, Copy)]
struct Unpacked {
    numbers: [u8; BLOCK],
    line: [f32; 4],
}

/// Whether this processor can do this.
pub fn is_there() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// Rounds each block of the rows, of `columns` numbers, to 255 steps.
pub fn round(x: &[f32], columns: usize) -> Activations {
    assert!(is_there(), "a product is made only where it is");
    let (numbers, _) = x.as_chunks::<BLOCK>();
    let blocks = columns / BLOCK;
    let mut bytes = vec![[0; BLOCK]; numbers.len()];
    let mut lines = vec![[0.0; 4]; numbers.len()];
    let groups = bytes.chunks_mut(GROUP * blocks).zip(lines.chunks_mut(GROUP * blocks));
    let groups: Vec<_> = groups.zip(numbers.chunks(GROUP * blocks)).map(Mutex::new).collect();
    let work = |range: Range<usize>| {
        for group in &groups[range] {
            let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
            let ((bytes, lines), numbers) = &mut *group;
            // SAFETY: the processor has the instructions.
            unsafe { round_group(numbers, blocks, bytes, lines) };
        }
    };
    // A few rows take less time than others need to wake up.
    if groups.len() > 2 {
        barrier_pool().execute_chunked(groups.len(), work);
    } else {
        work(0..groups.len());
    }
    Activations { bytes, lines, blocks }
}

/// The products of some rows of weights with all activations: `done(row, token, value)`.
pub fn tile(format: Format, rows: &[u8], all: &Activations, done: impl FnMut(usize, usize, f32)) {
    assert!(is_there(), "a product is made only where it is");
    // SAFETY: the processor has the instructions.
    unsafe { tile_here(format, rows, all, done) }
}

/// Of a whole group the first blocks come to stand beside each other; rows of the last, smaller one stay alone.
#[target_feature(enable = "avx2,fma,f16c")]
fn round_group(numbers: &[[f32; BLOCK]], blocks: usize, bytes: &mut [[i8; BLOCK]], lines: &mut [[f32; 4]]) {
    let is_whole = numbers.len() == GROUP * blocks;
    for (token, row) in numbers.chunks_exact(blocks).enumerate() {
        for (block, numbers) in row.iter().enumerate() {
            let place = if is_whole { block * GROUP + token } else { token * blocks + block };
            lines[place] = round_block(numbers, &mut bytes[place]);
        }
    }
}

/// The line of a block.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn round_block(numbers: &[f32; BLOCK], bytes: &mut [i8; BLOCK]) -> [f32; 4] {
    let (eights, _) = numbers.as_chunks::<8>();
    // SAFETY: they are eight numbers.
    let load = |place: usize| unsafe { _mm256_loadu_ps(eights[place].as_ptr()) };
    let eights = [load(0), load(1), load(2), load(3)];
    let [a, b, c, d] = eights.map(|eight| _mm256_andnot_ps(_mm256_set1_ps(-0.0), eight));
    let scale = most(_mm256_max_ps(_mm256_max_ps(a, b), _mm256_max_ps(c, d))) / 127.0;
    let inverse = _mm256_set1_ps(if scale > 0.0 { 1.0 / scale } else { 0.0 });
    // To the nearest, ties to even.
    let [a, b, c, d] = eights.map(|eight| _mm256_cvtps_epi32(_mm256_mul_ps(eight, inverse)));
    let sum = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
    // Halves of each come to lie apart, in fours, and are put in order.
    let packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    let packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    // SAFETY: they are 32 bytes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), packed) };
    let sum = total(_mm256_cvtepi32_ps(sum));
    [scale, scale * sum, sum, 0.0]
}

#[target_feature(enable = "avx2,fma,f16c")]
fn tile_here(format: Format, rows: &[u8], all: &Activations, done: impl FnMut(usize, usize, f32)) {
    match format {
        Format::Q4_0 => blocks::<18, false>(rows, all, done, |block| packing::q4_0(block)),
        Format::Q4_1 => blocks::<20, false>(rows, all, done, |block| packing::q4_1(block)),
        Format::Q5_0 => blocks::<22, false>(rows, all, done, |block| packing::q5_0(block)),
        Format::Q5_1 => blocks::<24, false>(rows, all, done, |block| packing::q5_1(block)),
        Format::Q8_0 => blocks::<34, true>(rows, all, done, |block| packing::q8_0(block)),
    }
}

/// `unpack` is for one block. A few tokens meet each block as it is; more meet it unpacked.
#[target_feature(enable = "avx2,fma,f16c")]
fn blocks<const SIZE: usize, const SIGNED: bool>(
    rows: &[u8],
    all: &Activations,
    mut done: impl FnMut(usize, usize, f32),
    unpack: impl Fn(&[u8; SIZE]) -> Block,
) {
    let (packed, _) = rows.as_chunks::<SIZE>();
    let tokens = all.lines.len() / all.blocks;
    if tokens < GROUP {
        for token in 0..tokens {
            each::<1, _, SIGNED>(packed, all, token, &mut done, &unpack);
        }
        return;
    }
    let unpacked = store(packed, unpack);
    let whole = tokens - tokens % GROUP;
    for token in (0..whole).step_by(GROUP) {
        each::<GROUP, _, SIGNED>(&unpacked, all, token, &mut done, |block| load_block(block));
    }
    for token in whole..tokens {
        each::<1, _, SIGNED>(&unpacked, all, token, &mut done, |block| load_block(block));
    }
}

/// `weights`, a row at a time, times the `N` rows of activations from `token` on, alone or a group.
#[target_feature(enable = "avx2,fma,f16c")]
fn each<const N: usize, T, const SIGNED: bool>(
    weights: &[T],
    all: &Activations,
    token: usize,
    mut done: impl FnMut(usize, usize, f32),
    unpack: impl Fn(&T) -> Block,
) {
    for (row, weights) in weights.chunks_exact(all.blocks).enumerate() {
        let values = dots::<N, T, SIGNED>(weights, all, token, &unpack);
        for (n, value) in values.into_iter().enumerate() {
            done(row, token + n, value);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dots<const N: usize, T, const SIGNED: bool>(
    weights: &[T],
    all: &Activations,
    token: usize,
    unpack: impl Fn(&T) -> Block,
) -> [f32; N] {
    let range = token * all.blocks..(token + N) * all.blocks;
    let theirs = all.bytes[range.clone()].as_chunks::<N>().0.iter().zip(all.lines[range].as_chunks::<N>().0);
    let mut sums = [_mm256_setzero_ps(); N];
    let mut rests = [_mm_setzero_ps(); N];
    for (block, (bytes, lines)) in weights.iter().zip(theirs) {
        let block = unpack(block);
        for n in 0..N {
            let line = _mm_mul_ps(block.line, load_line(&lines[n]));
            let products = products::<SIGNED>(block.numbers, load_signed(&bytes[n]));
            sums[n] = _mm256_fmadd_ps(_mm256_broadcastss_ps(line), products, sums[n]);
            if !SIGNED {
                rests[n] = _mm_add_ps(rests[n], line);
            }
        }
    }
    let mut values = [0.0; N];
    for n in 0..N {
        values[n] = total(sums[n]) + _mm_cvtss_f32(_mm_movehdup_ps(rests[n]));
    }
    values
}

/// Eight sums of four products each.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn products<const SIGNED: bool>(weight: __m256i, number: __m256i) -> __m256 {
    // One side of the instruction has no signs: those of bytes that have some go to the other side.
    let (size, number) =
        if SIGNED { (_mm256_sign_epi8(weight, weight), _mm256_sign_epi8(number, weight)) } else { (weight, number) };
    _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_maddubs_epi16(size, number), _mm256_set1_epi16(1)))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn store<const SIZE: usize>(packed: &[[u8; SIZE]], unpack: impl Fn(&[u8; SIZE]) -> Block) -> Vec<Unpacked> {
    let mut unpacked = vec![Unpacked { numbers: [0; BLOCK], line: [0.0; 4] }; packed.len()];
    for (place, block) in unpacked.iter_mut().zip(packed) {
        let Block { numbers, line } = unpack(block);
        // SAFETY: the places are 32 and 16 bytes long.
        unsafe {
            _mm256_storeu_si256(place.numbers.as_mut_ptr().cast(), numbers);
            _mm_storeu_ps(place.line.as_mut_ptr(), line);
        }
    }
    unpacked
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_block(block: &Unpacked) -> Block {
    Block { numbers: load(&block.numbers), line: load_line(&block.line) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load(bytes: &[u8; BLOCK]) -> __m256i {
    // SAFETY: they are 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_signed(bytes: &[i8; BLOCK]) -> __m256i {
    // SAFETY: they are 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_line(line: &[f32; 4]) -> __m128 {
    // SAFETY: they are four numbers.
    unsafe { _mm_loadu_ps(line.as_ptr()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn total(x: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The largest of eight.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn most(x: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}
