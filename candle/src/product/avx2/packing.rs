//! What ggml's blocks hold, as its reference unpacks them (`dequantize_row_*`).

use std::arch::x86_64::{
    __m128, __m256i, _mm_broadcastss_ps, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_movehdup_ps, _mm_mul_ps, _mm_setr_ps, _mm_srli_epi16, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_cmpeq_epi8, _mm256_inserti128_si256, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_set1_epi64x, _mm256_setr_epi64x, _mm256_shuffle_epi8,
};

use super::{BLOCK, load};

/// Some numbers of a row: `scale · number + offset`.
pub struct Block {
    /// Bytes: signed, with no offset, or unsigned.
    pub numbers: __m256i,
    /// Scale, offset, and zeros.
    pub line: __m128,
}

impl Block {
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub fn scale_and_offset(&self) -> [f32; 2] {
        [_mm_cvtss_f32(self.line), _mm_cvtss_f32(_mm_movehdup_ps(self.line))]
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q4_0(block: &[u8; 18]) -> Block {
    let line = _mm_mul_ps(_mm_broadcastss_ps(half(block)), _mm_setr_ps(1.0, -8.0, 0.0, 0.0));
    Block { numbers: nibbles(last(block)), line }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q4_1(block: &[u8; 20]) -> Block {
    Block { numbers: nibbles(last(block)), line: halves(block) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q5_0(block: &[u8; 22]) -> Block {
    let line = _mm_mul_ps(_mm_broadcastss_ps(half(block)), _mm_setr_ps(1.0, -16.0, 0.0, 0.0));
    Block { numbers: fifth(nibbles(last(block)), [block[2], block[3], block[4], block[5]]), line }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q5_1(block: &[u8; 24]) -> Block {
    Block { numbers: fifth(nibbles(last(block)), [block[4], block[5], block[6], block[7]]), line: halves(block) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn q8_0(block: &[u8; 34]) -> Block {
    Block { numbers: load(last(block)), line: half(block) }
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

/// The number that a block begins with, and zeros.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn half<const SIZE: usize>(block: &[u8; SIZE]) -> __m128 {
    _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes([block[0], block[1]]))))
}
