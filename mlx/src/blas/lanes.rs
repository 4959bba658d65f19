//! Eight floats that are multiplied and added together, spelled out for the processors where that matters: left to
//! itself the compiler shuffles them on their way.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the processor of its caller")]

/// How many there are.
pub const LANES: usize = 8;

/// Eight floats side by side.
pub trait Lanes: Copy {
    /// All nothing.
    fn zero() -> Self;
    /// From memory.
    fn load(numbers: &[f32; LANES]) -> Self;
    /// `self + a · b`, lane by lane.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// All of them added up.
    fn total(self) -> f32;
}

/// For any processor.
#[derive(Clone, Copy)]
pub struct Plain([f32; LANES]);

impl Lanes for Plain {
    #[inline(always)]
    fn zero() -> Self {
        Self([0.0; LANES])
    }

    #[inline(always)]
    fn load(numbers: &[f32; LANES]) -> Self {
        Self(*numbers)
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            // Every 64-bit ARM has one instruction for it; where there is none, asking for it is a call.
            if cfg!(target_arch = "aarch64") {
                a.0[lane].mul_add(b.0[lane], self.0[lane])
            } else {
                self.0[lane] + a.0[lane] * b.0[lane]
            }
        }))
    }

    #[inline(always)]
    fn total(self) -> f32 {
        self.0.iter().sum()
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::Wide;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm256_castps256_ps128,
        _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
    };

    use super::{LANES, Lanes};

    /// For processors with AVX2 and FMA, which the one function that uses it has made sure of.
    #[derive(Clone, Copy)]
    pub struct Wide(__m256);

    impl Lanes for Wide {
        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: see the type.
            Self(unsafe { _mm256_setzero_ps() })
        }

        #[inline(always)]
        fn load(numbers: &[f32; LANES]) -> Self {
            // SAFETY: see the type; eight numbers are read, from any place.
            Self(unsafe { _mm256_loadu_ps(numbers.as_ptr()) })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see the type.
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn total(self) -> f32 {
            // SAFETY: see the type.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }
    }
}
