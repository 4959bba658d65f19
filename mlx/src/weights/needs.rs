//! How much memory weights will take, told by their headers alone.

use mlx_rs::{Array, Dtype};

use super::Weights;
use crate::array::is_float;

/// Bits of packed numbers that one 32-bit word holds eight of: what is taken for granted where nothing says how many a word
/// holds. Words of more bits take less when they are unpacked.
const NUMBERS_IN_A_WORD: u64 = 8;

impl Weights<'_> {
    /// Bytes that all tensors will take once they are held as the device wants them; at most, for some belong to no layer,
    /// and packed numbers may be of more bits than four.
    pub fn needed_bytes(&self) -> u64 {
        self.arrays.iter().map(|(name, array)| self.needed(name, array)).sum()
    }

    fn needed(&self, name: &str, array: &Array) -> u64 {
        let size = |dtype: Option<Dtype>| dtype.map_or(2, dtype_bytes);
        let is_packed = array.dtype() == Dtype::Uint32 && name.ends_with(".weight");
        match self.policy.cast {
            cast if is_packed && self.unpacks() => array.size() as u64 * NUMBERS_IN_A_WORD * size(cast),
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
