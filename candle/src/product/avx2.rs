//! The arithmetic, in registers of 32 bytes. Nothing here may be called where not [`is_there`].

use std::arch::x86_64::{
    __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_movehdup_ps, _mm_movehl_ps, _mm_srli_epi16, _mm256_and_si256, _mm256_castps256_ps128, _mm256_castsi128_si256,
    _mm256_cmpeq_epi8, _mm256_cvtepi32_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_inserti128_si256,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setr_epi64x, _mm256_setzero_ps, _mm256_shuffle_epi8,
    _mm256_sign_epi8, _mm256_storeu_si256,
};

use super::{BLOCK, Format};

/// Rows of activations that meet a row of weights at once.
const GROUP: usize = 4;

/// Activations as bytes, with a scale for each block.
pub struct Activations {
    bytes: Vec<[i8; BLOCK]>,
    scales: Vec<f32>,
    /// Of each block's numbers.
    sums: Vec<f32>,
    /// Blocks of a row.
    blocks: usize,
}

/// Some rows of weights: `scale · byte + offset`.
struct Unpacked {
    bytes: Vec<[u8; BLOCK]>,
    scales: Vec<f32>,
    offsets: Vec<f32>,
}

/// Whether this processor can do this.
pub fn is_there() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// Rounds each block of the rows, of `columns` numbers, to 255 steps.
pub fn round(x: &[f32], columns: usize) -> Activations {
    assert!(is_there(), "a product is made only where it is");
    // SAFETY: the processor has the instructions.
    unsafe { round_here(x, columns) }
}

/// The products of some rows of weights with all activations: `done(row, token, value)`.
pub fn tile(format: Format, rows: &[u8], all: &Activations, done: impl FnMut(usize, usize, f32)) {
    assert!(is_there(), "a product is made only where it is");
    // SAFETY: the processor has the instructions.
    unsafe { tile_here(format, rows, all, done) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn round_here(x: &[f32], columns: usize) -> Activations {
    let (blocks, _) = x.as_chunks::<BLOCK>();
    let mut rounded = Activations {
        bytes: Vec::with_capacity(blocks.len()),
        scales: Vec::with_capacity(blocks.len()),
        sums: Vec::with_capacity(blocks.len()),
        blocks: columns / BLOCK,
    };
    for block in blocks {
        let most = block.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
        let scale = most / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let bytes = block.map(|number| (number * inverse).round_ties_even() as i8);
        let sum: i32 = bytes.iter().map(|byte| i32::from(*byte)).sum();
        rounded.bytes.push(bytes);
        rounded.scales.push(scale);
        rounded.sums.push(scale * sum as f32);
    }
    rounded
}

#[target_feature(enable = "avx2,fma,f16c")]
fn tile_here(format: Format, rows: &[u8], all: &Activations, done: impl FnMut(usize, usize, f32)) {
    match format {
        Format::Q4_0 => blocks::<18, false>(rows, all, done, |block| {
            let scale = half(block[0], block[1]);
            (nibbles(tail(block)), scale, -8.0 * scale)
        }),
        Format::Q4_1 => blocks::<20, false>(rows, all, done, |block| {
            (nibbles(tail(block)), half(block[0], block[1]), half(block[2], block[3]))
        }),
        Format::Q5_0 => blocks::<22, false>(rows, all, done, |block| {
            let scale = half(block[0], block[1]);
            (fifth(nibbles(tail(block)), [block[2], block[3], block[4], block[5]]), scale, -16.0 * scale)
        }),
        Format::Q5_1 => blocks::<24, false>(rows, all, done, |block| {
            let numbers = fifth(nibbles(tail(block)), [block[4], block[5], block[6], block[7]]);
            (numbers, half(block[0], block[1]), half(block[2], block[3]))
        }),
        Format::Q8_0 => {
            blocks::<34, true>(rows, all, done, |block| (load(tail(block)), half(block[0], block[1]), 0.0));
        }
    }
}

/// `numbers` are bytes, scale and offset of a block. A few tokens meet each block as it is; more meet it unpacked.
#[target_feature(enable = "avx2,fma,f16c")]
fn blocks<const SIZE: usize, const SIGNED: bool>(
    rows: &[u8],
    all: &Activations,
    mut done: impl FnMut(usize, usize, f32),
    numbers: impl Fn(&[u8; SIZE]) -> (__m256i, f32, f32),
) {
    let (rows, tokens) = (rows.as_chunks::<SIZE>().0.chunks_exact(all.blocks), all.scales.len() / all.blocks);
    if tokens < GROUP {
        for (row, packed) in rows.enumerate() {
            for token in 0..tokens {
                done(row, token, dot::<SIZE, SIGNED>(packed, all, token, &numbers));
            }
        }
        return;
    }
    let count = rows.len();
    let unpacked = unpack(rows.flatten(), count * all.blocks, numbers);
    let whole = tokens - tokens % GROUP;
    for token in (0..whole).step_by(GROUP) {
        for row in 0..count {
            let values = dots::<GROUP, SIGNED>(&unpacked, row, all, token);
            for (place, value) in values.into_iter().enumerate() {
                done(row, token + place, value);
            }
        }
    }
    for token in whole..tokens {
        for row in 0..count {
            let [value] = dots::<1, SIGNED>(&unpacked, row, all, token);
            done(row, token, value);
        }
    }
}

/// A row of weights times a row of activations.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot<const SIZE: usize, const SIGNED: bool>(
    row: &[[u8; SIZE]],
    all: &Activations,
    token: usize,
    numbers: impl Fn(&[u8; SIZE]) -> (__m256i, f32, f32),
) -> f32 {
    let range = token * all.blocks..(token + 1) * all.blocks;
    let theirs = all.bytes[range.clone()].iter().zip(&all.scales[range.clone()]).zip(&all.sums[range]);
    let (mut sum, mut rest) = (_mm256_setzero_ps(), 0.0);
    for (block, ((bytes, theirs), others)) in row.iter().zip(theirs) {
        let (weight, scale, offset) = numbers(block);
        sum = _mm256_fmadd_ps(_mm256_set1_ps(scale * theirs), products::<SIGNED>(weight, load_signed(bytes)), sum);
        if !SIGNED {
            rest += offset * others;
        }
    }
    total(sum) + rest
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

/// A row of weights times `N` rows of activations.
#[target_feature(enable = "avx2,fma,f16c")]
fn dots<const N: usize, const SIGNED: bool>(
    weights: &Unpacked,
    row: usize,
    all: &Activations,
    token: usize,
) -> [f32; N] {
    let blocks = all.blocks;
    let ours = row * blocks..(row + 1) * blocks;
    let theirs: [_; N] = std::array::from_fn(|n| {
        let range = (token + n) * blocks..(token + n + 1) * blocks;
        (&all.bytes[range.clone()], &all.scales[range.clone()], &all.sums[range])
    });
    let (bytes, scales) = (&weights.bytes[ours.clone()], &weights.scales[ours.clone()]);
    let mut sums = [_mm256_setzero_ps(); N];
    for block in 0..blocks {
        let weight = load(&bytes[block]);
        for (sum, (bytes, others, _)) in sums.iter_mut().zip(&theirs) {
            let scale = _mm256_set1_ps(scales[block] * others[block]);
            *sum = _mm256_fmadd_ps(scale, products::<SIGNED>(weight, load_signed(&bytes[block])), *sum);
        }
    }
    let mut values = [0.0; N];
    for ((value, sum), (_, _, theirs)) in values.iter_mut().zip(sums).zip(&theirs) {
        *value = total(sum);
        if !SIGNED {
            *value += weights.offsets[ours.clone()].iter().zip(*theirs).map(|(offset, sum)| offset * sum).sum::<f32>();
        }
    }
    values
}

#[target_feature(enable = "avx2,fma,f16c")]
fn unpack<'a, const SIZE: usize>(
    packed: impl Iterator<Item = &'a [u8; SIZE]>,
    count: usize,
    numbers: impl Fn(&[u8; SIZE]) -> (__m256i, f32, f32),
) -> Unpacked {
    let mut unpacked = Unpacked { bytes: vec![[0; BLOCK]; count], scales: vec![0.0; count], offsets: vec![0.0; count] };
    let places = unpacked.bytes.iter_mut().zip(&mut unpacked.scales).zip(&mut unpacked.offsets);
    for (block, ((place, scale), offset)) in packed.zip(places) {
        let bytes;
        (bytes, *scale, *offset) = numbers(block);
        // SAFETY: the place is 32 bytes long.
        unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), bytes) };
    }
    unpacked
}

/// The last bytes of a block.
fn tail<const SIZE: usize, const LEN: usize>(block: &[u8; SIZE]) -> &[u8; LEN] {
    block.last_chunk().expect("a block is longer than its numbers")
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

/// The lower halves of 16 bytes, then the upper ones.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn nibbles(bytes: &[u8; BLOCK / 2]) -> __m256i {
    // SAFETY: they are 16 bytes.
    let low = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), _mm_srli_epi16::<4>(low));
    _mm256_and_si256(both, _mm256_set1_epi8(0xf))
}

/// Adds 16 to numbers whose bit is set.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn fifth(numbers: __m256i, bits: [u8; 4]) -> __m256i {
    let places = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(i32::from_le_bytes(bits)), places);
    // All ones where the number's own bit is, the others being set here.
    let filled = _mm256_or_si256(spread, _mm256_set1_epi64x(0x7fbf_dfef_f7fb_fdfe));
    let set = _mm256_cmpeq_epi8(filled, _mm256_set1_epi8(-1));
    _mm256_or_si256(numbers, _mm256_and_si256(set, _mm256_set1_epi8(0x10)))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn half(low: u8, high: u8) -> f32 {
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes([low, high])))))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn total(x: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}
