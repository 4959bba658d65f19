//! The arithmetic for many activations, in registers of 64 bytes. Nothing here may be called where not [`is_there`].
//!
//! Each of a register's 16 places is a row of weights of its own: four of its numbers meet four of an activation's, which
//! all places share. No place is added to another at the end, and one instruction does the work of three.

use std::arch::x86_64::{
    __m512, _mm256_storeu_si256, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_ps,
    _mm512_load_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_storeu_ps,
};
use std::array;

use super::avx2::{self, Activations, GROUP, packing};
use super::{BLOCK, Format, TILE};

/// Numbers of a row that one instruction takes.
const STEP: usize = 4;

/// The same block of each row of a tile: `scale · (number − zero) + offset`.
#[derive(Clone)]
#[repr(align(64))]
struct Block {
    /// The first four numbers of each row, then the next.
    numbers: [[[u8; STEP]; TILE]; BLOCK / STEP],
    scales: [f32; TILE],
    offsets: [f32; TILE],
}

const EMPTY: Block = Block { numbers: [[[0; STEP]; TILE]; BLOCK / STEP], scales: [0.0; TILE], offsets: [0.0; TILE] };

/// Whether this processor can do this.
pub fn is_there() -> bool {
    avx2::is_there() && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
}

/// The products of `count` rows of weights, [`TILE`] at most, with all activations: `done(token, values)`.
pub fn tile(format: Format, rows: &[u8], count: usize, all: &Activations, done: impl FnMut(usize, &[f32])) {
    assert!(is_there(), "the caller asks first");
    // SAFETY: the processor has the instructions.
    unsafe { tile_here(format, rows, count, all, done) }
}

#[target_feature(enable = "avx512f,avx512vnni,avx2,fma,f16c")]
fn tile_here(format: Format, rows: &[u8], count: usize, all: &Activations, done: impl FnMut(usize, &[f32])) {
    match format {
        Format::Q4_0 => multiply::<8, false>(&side_by_side(rows, all, |block| packing::q4_0(block)), count, all, done),
        Format::Q4_1 => multiply::<0, true>(&side_by_side(rows, all, |block| packing::q4_1(block)), count, all, done),
        Format::Q5_0 => multiply::<16, false>(&side_by_side(rows, all, |block| packing::q5_0(block)), count, all, done),
        Format::Q5_1 => multiply::<0, true>(&side_by_side(rows, all, |block| packing::q5_1(block)), count, all, done),
        Format::Q8_0 => {
            multiply::<128, false>(&side_by_side(rows, all, |block| packing::q8_0(block)), count, all, done);
        }
    }
}

/// The blocks of some rows, unpacked. Places without a row are zeros.
#[target_feature(enable = "avx512f,avx512vnni,avx2,fma,f16c")]
fn side_by_side<const SIZE: usize>(
    rows: &[u8],
    all: &Activations,
    unpack: impl Fn(&[u8; SIZE]) -> packing::Block,
) -> Vec<Block> {
    let mut blocks = vec![EMPTY; all.blocks];
    let (packed, _) = rows.as_chunks::<SIZE>();
    for (row, packed) in packed.chunks_exact(all.blocks).enumerate() {
        for (block, packed) in blocks.iter_mut().zip(packed) {
            let unpacked = unpack(packed);
            let mut numbers = [0; BLOCK];
            // SAFETY: they are 32 bytes.
            unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), unpacked.numbers) };
            // 34 bytes: `Q8_0`, whose numbers have signs.
            let flip = if SIZE == 34 { 0x80 } else { 0 };
            for (place, step) in block.numbers.iter_mut().zip(numbers.as_chunks::<STEP>().0) {
                place[row] = step.map(|number| number ^ flip);
            }
            [block.scales[row], block.offsets[row]] = unpacked.scale_and_offset();
        }
    }
    blocks
}

/// Formats with a zero need no offset, and the other way round.
#[target_feature(enable = "avx512f,avx512vnni,avx2,fma,f16c")]
fn multiply<const ZERO: u8, const OFFSET: bool>(
    blocks: &[Block],
    count: usize,
    all: &Activations,
    mut done: impl FnMut(usize, &[f32]),
) {
    let tokens = all.lines.len() / all.blocks;
    let whole = tokens - tokens % GROUP;
    let mut take = |token: usize, sums: __m512| {
        let mut values = [0.0; TILE];
        // SAFETY: they are 16 numbers.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), sums) };
        done(token, &values[..count]);
    };
    for token in (0..whole).step_by(GROUP) {
        for (n, sums) in dots::<GROUP, ZERO, OFFSET>(blocks, all, token).into_iter().enumerate() {
            take(token + n, sums);
        }
    }
    for token in whole..tokens {
        let [sums] = dots::<1, ZERO, OFFSET>(blocks, all, token);
        take(token, sums);
    }
}

/// Of each row with the `N` activations from `token` on, alone or a group.
#[target_feature(enable = "avx512f,avx512vnni,avx2,fma,f16c")]
#[inline]
fn dots<const N: usize, const ZERO: u8, const OFFSET: bool>(
    blocks: &[Block],
    all: &Activations,
    token: usize,
) -> [__m512; N] {
    let range = token * all.blocks..(token + N) * all.blocks;
    let theirs = all.bytes[range.clone()].as_chunks::<N>().0.iter().zip(all.lines[range].as_chunks::<N>().0);
    let zero = _mm512_set1_ps(-f32::from(ZERO));
    let mut sums = [_mm512_setzero_ps(); N];
    for (block, (bytes, lines)) in blocks.iter().zip(theirs) {
        // SAFETY: all are 64 bytes, and begin at a multiple of that.
        let (numbers, scales, offsets) = unsafe {
            (
                array::from_fn::<_, { BLOCK / STEP }, _>(|step| _mm512_load_si512(block.numbers[step].as_ptr().cast())),
                _mm512_load_ps(block.scales.as_ptr()),
                _mm512_load_ps(block.offsets.as_ptr()),
            )
        };
        for n in 0..N {
            let mut dot = _mm512_setzero_si512();
            for (step, number) in bytes[n].as_chunks::<STEP>().0.iter().enumerate() {
                let number = _mm512_set1_epi32(i32::from_le_bytes(number.map(i8::cast_unsigned)));
                dot = _mm512_dpbusd_epi32(dot, numbers[step], number);
            }
            let [scale, scaled_sum, sum, _] = lines[n].map(|number| _mm512_set1_ps(number));
            let mut product = _mm512_cvtepi32_ps(dot);
            if ZERO > 0 {
                // Whole numbers below 2^24: exact.
                product = _mm512_fmadd_ps(zero, sum, product);
            }
            sums[n] = _mm512_fmadd_ps(product, _mm512_mul_ps(scales, scale), sums[n]);
            if OFFSET {
                sums[n] = _mm512_fmadd_ps(offsets, scaled_sum, sums[n]);
            }
        }
    }
    sums
}
