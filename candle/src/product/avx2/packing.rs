//! What ggml's blocks hold, as its reference unpacks them (`dequantize_row_*`).

use std::arch::x86_64::{
    __m128, __m256i, _mm_broadcastss_ps, _mm_cvtepi32_ps, _mm_cvtepu8_epi32, _mm_cvtph_ps, _mm_cvtsi32_si128,
    _mm_loadu_si128, _mm_mul_ps, _mm_setr_ps, _mm_srli_epi16, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_cmpeq_epi8, _mm256_inserti128_si256, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_set1_epi64x, _mm256_setr_epi64x, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_sub_epi8,
};

use super::{BLOCK, load};

/// Some numbers of a row: `scale · number + offset`.
pub struct Part {
    /// Bytes: signed, with no offset, or unsigned.
    pub numbers: __m256i,
    /// Scale of the first half, offset, scale of the second half, 0.
    pub line: __m128,
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q4_0(block: &[u8; 18]) -> Part {
    let line = _mm_mul_ps(everywhere(half(block)), _mm_setr_ps(1.0, -8.0, 1.0, 0.0));
    Part { numbers: nibbles(last(block)), line }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q4_1(block: &[u8; 20]) -> Part {
    Part { numbers: nibbles(last(block)), line: halves(block) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q5_0(block: &[u8; 22]) -> Part {
    let line = _mm_mul_ps(everywhere(half(block)), _mm_setr_ps(1.0, -16.0, 1.0, 0.0));
    Part { numbers: fifth(nibbles(last(block)), [block[2], block[3], block[4], block[5]]), line }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q5_1(block: &[u8; 24]) -> Part {
    Part { numbers: fifth(nibbles(last(block)), [block[4], block[5], block[6], block[7]]), line: halves(block) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q8_0(block: &[u8; 34]) -> Part {
    Part { numbers: load(last(block)), line: half(block) }
}

/// Scale and least number, eight of 6 bits for each, 256 nibbles.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q4k(block: &[u8; 144]) -> [Part; 8] {
    let ((rows, _), line, lines) = (last::<144, 128>(block).as_chunks(), scale_and_least(block), lines(block));
    let part = |line, numbers| Part { numbers, line };
    [
        part(of(line, lines[0]), low(load(&rows[0]))),
        part(of(line, lines[1]), high(load(&rows[0]))),
        part(of(line, lines[2]), low(load(&rows[1]))),
        part(of(line, lines[3]), high(load(&rows[1]))),
        part(of(line, lines[4]), low(load(&rows[2]))),
        part(of(line, lines[5]), high(load(&rows[2]))),
        part(of(line, lines[6]), low(load(&rows[3]))),
        part(of(line, lines[7]), high(load(&rows[3]))),
    ]
}

/// As [`q4k`], and before the nibbles the fifth bits of all numbers, in each byte one of each part.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q5k(block: &[u8; 176]) -> [Part; 8] {
    let ((rows, _), line, lines) = (last::<176, 160>(block).as_chunks(), scale_and_least(block), lines(block));
    let fifths = load(&rows[0]);
    let part = |line, numbers, fifth| {
        let fifth = _mm256_and_si256(fifth, _mm256_set1_epi8(0x10));
        Part { numbers: _mm256_or_si256(numbers, fifth), line }
    };
    [
        part(of(line, lines[0]), low(load(&rows[1])), _mm256_slli_epi16::<4>(fifths)),
        part(of(line, lines[1]), high(load(&rows[1])), _mm256_slli_epi16::<3>(fifths)),
        part(of(line, lines[2]), low(load(&rows[2])), _mm256_slli_epi16::<2>(fifths)),
        part(of(line, lines[3]), high(load(&rows[2])), _mm256_slli_epi16::<1>(fifths)),
        part(of(line, lines[4]), low(load(&rows[3])), fifths),
        part(of(line, lines[5]), high(load(&rows[3])), _mm256_srli_epi16::<1>(fifths)),
        part(of(line, lines[6]), low(load(&rows[4])), _mm256_srli_epi16::<2>(fifths)),
        part(of(line, lines[7]), high(load(&rows[4])), _mm256_srli_epi16::<3>(fifths)),
    ]
}

/// 256 nibbles, two more bits of each, a signed byte for each 16 numbers, a scale.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q6k(block: &[u8; 210]) -> [Part; 8] {
    let (rows, rest) = block.as_chunks::<BLOCK>();
    let (bits, scale): (_, &[u8; 2]) = ([load(&rows[4]), load(&rows[5])], last(block));
    let scale = everywhere(half(scale));
    let part = |part: usize, numbers, upper| {
        let upper = _mm256_and_si256(upper, _mm256_set1_epi8(0x30));
        let numbers = _mm256_sub_epi8(_mm256_or_si256(numbers, upper), _mm256_set1_epi8(32));
        let [first, second] = [rest[2 * part], rest[2 * part + 1]].map(|byte| f32::from(byte.cast_signed()));
        Part { numbers, line: _mm_mul_ps(scale, _mm_setr_ps(first, 0.0, second, 0.0)) }
    };
    [
        part(0, low(load(&rows[0])), _mm256_slli_epi16::<4>(bits[0])),
        part(1, low(load(&rows[1])), _mm256_slli_epi16::<2>(bits[0])),
        part(2, high(load(&rows[0])), bits[0]),
        part(3, high(load(&rows[1])), _mm256_srli_epi16::<2>(bits[0])),
        part(4, low(load(&rows[2])), _mm256_slli_epi16::<4>(bits[1])),
        part(5, low(load(&rows[3])), _mm256_slli_epi16::<2>(bits[1])),
        part(6, high(load(&rows[2])), bits[1]),
        part(7, high(load(&rows[3])), _mm256_srli_epi16::<2>(bits[1])),
    ]
}

/// Of each part of [`q4k`]'s: times the scale, and times the least number.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn lines<const SIZE: usize>(block: &[u8; SIZE]) -> [[u8; 2]; 8] {
    let bytes: &[u8; 12] = block[4..].first_chunk().expect("a block is longer than its scales");
    let first = |part: usize| [bytes[part] & 63, bytes[part + 4] & 63];
    // The upper two bits of the first eight belong to the last four parts.
    let last = |part: usize| {
        let (scale, least) = (bytes[part] >> 6 << 4, bytes[part + 4] >> 6 << 4);
        [bytes[part + 8] & 15 | scale, bytes[part + 8] >> 4 | least]
    };
    [first(0), first(1), first(2), first(3), last(0), last(1), last(2), last(3)]
}

/// The line of a part.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn of(line: __m128, [scale, least]: [u8; 2]) -> __m128 {
    let bytes = i32::from(scale) | i32::from(least) << 8;
    _mm_mul_ps(line, _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes))))
}

/// The lower halves of bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn low(bytes: __m256i) -> __m256i {
    _mm256_and_si256(bytes, _mm256_set1_epi8(0xf))
}

/// The upper halves of bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn high(bytes: __m256i) -> __m256i {
    low(_mm256_srli_epi16::<4>(bytes))
}

/// The last bytes of a block.
fn last<const SIZE: usize, const LEN: usize>(block: &[u8; SIZE]) -> &[u8; LEN] {
    block.last_chunk().expect("a block is longer than its numbers")
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

/// The two numbers that a block begins with: scale and offset.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn halves<const SIZE: usize>(block: &[u8; SIZE]) -> __m128 {
    _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from_le_bytes([block[0], block[1], block[2], block[3]])))
}

/// As [`halves`], where the second is what is taken off.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn scale_and_least<const SIZE: usize>(block: &[u8; SIZE]) -> __m128 {
    _mm_mul_ps(halves(block), _mm_setr_ps(1.0, -1.0, 0.0, 0.0))
}

/// The number that a block begins with, and zeros.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn half<const SIZE: usize>(block: &[u8; SIZE]) -> __m128 {
    _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes([block[0], block[1]]))))
}

/// The first number in all places.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn everywhere(x: __m128) -> __m128 {
    _mm_broadcastss_ps(x)
}
