//! How much memory weights will take, told by their headers alone.

use mlx_rs::{Array, Dtype};

use super::Weights;
use crate::array::is_float;

/// Of a 32-bit word.
const WORD_BITS: u32 = 32;

/// What is taken for granted where the config does not say how many bits a packed number has.
const USUAL_BITS: u32 = 4;

impl Weights<'_> {
    /// Bytes that all tensors will take once they are held as the device wants them, packed numbers being of so many `bits`;
    /// at most, for some belong to no layer, and some layers may be of more bits.
    pub fn needed_bytes(&self, bits: Option<u32>) -> u64 {
        let in_a_word = WORD_BITS.div_ceil(bits.unwrap_or(USUAL_BITS).clamp(1, WORD_BITS));
        self.arrays.iter().map(|(name, array)| self.needed(name, array, in_a_word)).sum()
    }

    fn needed(&self, name: &str, array: &Array, in_a_word: u32) -> u64 {
        let size = |dtype: Option<Dtype>| dtype.map_or(2, dtype_bytes);
        let is_packed = array.dtype() == Dtype::Uint32 && name.ends_with(".weight");
        match self.policy.cast {
            cast if is_packed && self.unpacks() => array.size() as u64 * u64::from(in_a_word) * size(cast),
            // What unpacked numbers are made of is given back.
            _ if self.unpacks() && (name.ends_with(".scales") || name.ends_with(".biases")) => 0,
            Some(dtype) if is_float(array.dtype()) => array.size() as u64 * dtype_bytes(dtype),
            _ => array.nbytes() as u64,
        }
    }
}

fn dtype_bytes(dtype: Dtype) -> u64 {
    match dtype {
        Dtype::Float32 => 4,
        _ => 2,
    }
}
