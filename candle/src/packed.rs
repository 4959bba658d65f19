//! MLX's affine packing: `scale · bits + bias`, both of a group of numbers. Candle has no product with it, so it is unpacked
//! at the load.

use engine::convert::{BITS, GROUP_SIZES};

/// The numbers of one row or more. `words` hold the bits one after the other, the lowest first; `columns` are those of a
/// row. `None` where no known number of bits and group size gives so many words and scales.
pub fn unpack(words: &[u32], scales: &[f32], biases: &[f32], rows: usize, columns: usize) -> Option<Vec<f32>> {
    let numbers = rows.checked_mul(columns)?;
    let bits = BITS.into_iter().find(|bits| numbers.checked_mul(*bits as usize) == Some(words.len() * 32))? as usize;
    let group = GROUP_SIZES.into_iter().find(|size| scales.len() * *size as usize == numbers)? as usize;
    if biases.len() != scales.len() || !columns.is_multiple_of(group) || !(columns * bits).is_multiple_of(32) {
        return None;
    }
    let mask = (1_u64 << bits) - 1;
    let number = |place: usize| {
        // Numbers of 3, 5 and 6 bits cross the ends of words; rows start at one.
        let start = place * bits;
        let word = u64::from(words[start / 32]);
        let next = words.get(start / 32 + 1).map_or(0, |word| u64::from(*word));
        let value = ((word | next << 32) >> (start % 32)) & mask;
        scales[place / group] * value as f32 + biases[place / group]
    };
    Some((0..numbers).map(number).collect())
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
