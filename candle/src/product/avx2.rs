//! The arithmetic, in registers of 32 bytes. Nothing here may be called where not [`is_there`].

mod packing;

use std::arch::x86_64::{
    __m128, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_ps, _mm_movehdup_ps, _mm_movehl_ps,
    _mm_mul_ps, _mm_setzero_ps, _mm_storeu_ps, _mm256_broadcastss_ps, _mm256_castps128_ps256, _mm256_castps256_ps128,
    _mm256_cvtepi32_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_permutevar8x32_ps, _mm256_set1_epi16, _mm256_setr_epi32, _mm256_setzero_ps,
    _mm256_sign_epi8, _mm256_storeu_si256,
};

use self::packing::Part;
use super::{BLOCK, Format};

/// Rows of activations that meet a row of weights at once.
const GROUP: usize = 4;

/// Activations as bytes, with a scale for each block. Of [`GROUP`] rows the first blocks stand beside each other, then the
/// second ones; rows beyond the last whole group stand alone.
pub struct Activations {
    bytes: Vec<[i8; BLOCK]>,
    /// What meets a [`Part`]'s line: scale, sum of the block's numbers, scale, 0.
    lines: Vec<[f32; 4]>,
    /// Blocks of a row.
    blocks: usize,
}

/// The parts of some rows of weights.
struct Unpacked {
    bytes: Vec<[u8; BLOCK]>,
    lines: Vec<[f32; 4]>,
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
    let (numbers, _) = x.as_chunks::<BLOCK>();
    let (blocks, tokens) = (columns / BLOCK, x.len() / columns);
    let mut bytes = vec![[0; BLOCK]; numbers.len()];
    let mut lines = vec![[0.0; 4]; numbers.len()];
    for (token, row) in numbers.chunks_exact(blocks).enumerate() {
        // The first of its group, and how many those are.
        let (first, group) = if token < tokens - tokens % GROUP { (token - token % GROUP, GROUP) } else { (token, 1) };
        for (block, numbers) in row.iter().enumerate() {
            let most = numbers.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
            let scale = most / 127.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            let place = first * blocks + block * group + token - first;
            bytes[place] = numbers.map(|number| (number * inverse).round_ties_even() as i8);
            let sum = scale * bytes[place].iter().map(|byte| i32::from(*byte)).sum::<i32>() as f32;
            lines[place] = [scale, sum, scale, 0.0];
        }
    }
    Activations { bytes, lines, blocks }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn tile_here(format: Format, rows: &[u8], all: &Activations, done: impl FnMut(usize, usize, f32)) {
    match format {
        Format::Q4_0 => blocks::<18, 1, false>(rows, all, done, |block| [packing::q4_0(block)]),
        Format::Q4_1 => blocks::<20, 1, false>(rows, all, done, |block| [packing::q4_1(block)]),
        Format::Q5_0 => blocks::<22, 1, false>(rows, all, done, |block| [packing::q5_0(block)]),
        Format::Q5_1 => blocks::<24, 1, false>(rows, all, done, |block| [packing::q5_1(block)]),
        Format::Q8_0 => blocks::<34, 1, true>(rows, all, done, |block| [packing::q8_0(block)]),
        Format::Q4K => blocks::<144, 8, false>(rows, all, done, |block| packing::q4k(block)),
        Format::Q5K => blocks::<176, 8, false>(rows, all, done, |block| packing::q5k(block)),
        Format::Q6K => blocks::<210, 8, true>(rows, all, done, |block| packing::q6k(block)),
    }
}

/// `parts` are those of a block. A few tokens meet each block as it is; more meet it unpacked.
#[target_feature(enable = "avx2,fma,f16c")]
fn blocks<const SIZE: usize, const PARTS: usize, const SIGNED: bool>(
    rows: &[u8],
    all: &Activations,
    mut done: impl FnMut(usize, usize, f32),
    parts: impl Fn(&[u8; SIZE]) -> [Part; PARTS],
) {
    let (packed, width, tokens) = (rows.as_chunks::<SIZE>().0, all.blocks / PARTS, all.lines.len() / all.blocks);
    let count = packed.len() / width;
    let row = |row: usize| &packed[row * width..(row + 1) * width];
    if tokens < GROUP {
        for token in 0..tokens {
            for pair in (0..count - count % 2).step_by(2) {
                let values = dot::<2, SIZE, PARTS, SIGNED>([row(pair), row(pair + 1)], all, token, &parts);
                done(pair, token, values[0]);
                done(pair + 1, token, values[1]);
            }
            if !count.is_multiple_of(2) {
                done(count - 1, token, dot::<1, SIZE, PARTS, SIGNED>([row(count - 1)], all, token, &parts)[0]);
            }
        }
        return;
    }
    let unpacked = unpack(packed, parts);
    let whole = tokens - tokens % GROUP;
    for token in (0..whole).step_by(GROUP) {
        for row in 0..count {
            let values = dots::<GROUP, PARTS, SIGNED>(&unpacked, row, all, token);
            for (place, value) in values.into_iter().enumerate() {
                done(row, token + place, value);
            }
        }
    }
    for token in whole..tokens {
        for row in 0..count {
            let [value] = dots::<1, PARTS, SIGNED>(&unpacked, row, all, token);
            done(row, token, value);
        }
    }
}

/// Rows of weights times a row of activations. Two rows at once do not wait for each other's sums.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot<const ROWS: usize, const SIZE: usize, const PARTS: usize, const SIGNED: bool>(
    rows: [&[[u8; SIZE]]; ROWS],
    all: &Activations,
    token: usize,
    parts: impl Fn(&[u8; SIZE]) -> [Part; PARTS],
) -> [f32; ROWS] {
    let range = token * all.blocks..(token + 1) * all.blocks;
    let bytes = all.bytes[range.clone()].as_chunks::<PARTS>().0;
    let lines = all.lines[range].as_chunks::<PARTS>().0;
    let (mut sums, mut rests) = ([_mm256_setzero_ps(); ROWS], [_mm_setzero_ps(); ROWS]);
    for (block, (bytes, lines)) in bytes.iter().zip(lines).enumerate() {
        for row in 0..ROWS {
            let parts = parts(&rows[row][block]);
            for part in 0..PARTS {
                let line = _mm_mul_ps(parts[part].line, load_line(&lines[part]));
                let products = products::<SIGNED>(parts[part].numbers, load_signed(&bytes[part]));
                sums[row] = _mm256_fmadd_ps(spread::<PARTS, SIGNED>(line), products, sums[row]);
                if !SIGNED {
                    rests[row] = _mm_add_ps(rests[row], line);
                }
            }
        }
    }
    let mut values = [0.0; ROWS];
    for row in 0..ROWS {
        values[row] = total(sums[row]) + _mm_cvtss_f32(_mm_movehdup_ps(rests[row]));
    }
    values
}

/// The scale of each of a part's eight sums. Halves have scales of their own where signed numbers come in eight parts.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn spread<const PARTS: usize, const SIGNED: bool>(line: __m128) -> __m256 {
    if SIGNED && PARTS > 1 {
        _mm256_permutevar8x32_ps(_mm256_castps128_ps256(line), _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2))
    } else {
        _mm256_broadcastss_ps(line)
    }
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

/// A row of weights times a group of `N` rows of activations.
#[target_feature(enable = "avx2,fma,f16c")]
fn dots<const N: usize, const PARTS: usize, const SIGNED: bool>(
    weights: &Unpacked,
    row: usize,
    all: &Activations,
    token: usize,
) -> [f32; N] {
    let ours = row * all.blocks..(row + 1) * all.blocks;
    let ours = weights.bytes[ours.clone()].iter().zip(&weights.lines[ours]);
    let range = token * all.blocks..(token + N) * all.blocks;
    let theirs = all.bytes[range.clone()].as_chunks::<N>().0.iter().zip(all.lines[range].as_chunks::<N>().0);
    let (mut sums, mut rests) = ([_mm256_setzero_ps(); N], [_mm_setzero_ps(); N]);
    for ((weight, line), (bytes, lines)) in ours.zip(theirs) {
        let (weight, line) = (load(weight), load_line(line));
        for n in 0..N {
            let line = _mm_mul_ps(line, load_line(&lines[n]));
            let products = products::<SIGNED>(weight, load_signed(&bytes[n]));
            sums[n] = _mm256_fmadd_ps(spread::<PARTS, SIGNED>(line), products, sums[n]);
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

#[target_feature(enable = "avx2,fma,f16c")]
fn unpack<const SIZE: usize, const PARTS: usize>(
    packed: &[[u8; SIZE]],
    parts: impl Fn(&[u8; SIZE]) -> [Part; PARTS],
) -> Unpacked {
    let count = packed.len() * PARTS;
    let mut unpacked = Unpacked { bytes: vec![[0; BLOCK]; count], lines: vec![[0.0; 4]; count] };
    for (block, packed) in packed.iter().enumerate() {
        for (part, ours) in parts(packed).iter().enumerate() {
            let place = block * PARTS + part;
            // SAFETY: the places are 32 and 16 bytes long.
            unsafe {
                _mm256_storeu_si256(unpacked.bytes[place].as_mut_ptr().cast(), ours.numbers);
                _mm_storeu_ps(unpacked.lines[place].as_mut_ptr(), ours.line);
            }
        }
    }
    unpacked
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
