//! MLX's affine packing: `scale · number + bias`, both of a group of numbers. Candle has no product with it. ggml's blocks
//! with a least number have the same formula, so that numbers of five bits and fewer move there as they are, their scales
//! and biases in float16.

use candle_core::quantized::GgmlDType;
use engine::convert::{BITS, GROUP_SIZES};
use half::f16;

/// Numbers of a block, which take as many words as a number has bits.
const BLOCK: usize = 32;

/// Largest number of a matrix from which on what float16 cuts of small scales is less than `Q8_0` would: it has steps of 6e-8,
/// which a number may take 31 times.
const LEAST: f32 = 1e-3;

/// A matrix as MLX packs it.
pub struct Affine<'a> {
    /// The bits of the numbers one after the other, the lowest first.
    words: &'a [u32],
    /// Of each group.
    scales: &'a [f32],
    biases: &'a [f32],
    bits: usize,
    /// Numbers of a group, some blocks.
    group: usize,
}

impl<'a> Affine<'a> {
    /// `rows` of `columns` numbers. `None` where no known number of bits and group size gives so many words and scales.
    pub fn new(words: &'a [u32], scales: &'a [f32], biases: &'a [f32], [rows, columns]: [usize; 2]) -> Option<Self> {
        let numbers = rows.checked_mul(columns)?;
        let bits = BITS.into_iter().find(|bits| numbers.checked_mul(*bits as usize) == Some(words.len() * BLOCK))?;
        let group = GROUP_SIZES.into_iter().find(|size| scales.len() * *size as usize == numbers)?;
        let (bits, group) = (bits as usize, group as usize);
        let is_whole = biases.len() == scales.len() && columns.is_multiple_of(group);
        is_whole.then_some(Self { words, scales, biases, bits, group })
    }

    /// The numbers that they stand for.
    pub fn numbers(&self) -> Vec<f32> {
        let mut numbers = Vec::with_capacity(self.words.len() / self.bits * BLOCK);
        for (place, block) in self.blocks().enumerate() {
            let [scale, bias] = self.line(place);
            numbers.extend(block.map(|number| scale * f32::from(number) + bias));
        }
        numbers
    }

    /// The same numbers in ggml's blocks. `None` where they have more bits than such blocks, or where float16 is too small or
    /// too coarse for them.
    pub fn ggml(&self) -> Option<(GgmlDType, Vec<u8>)> {
        let dtype = match self.bits {
            ..=4 => GgmlDType::Q4_1,
            5 => GgmlDType::Q5_1,
            _ => return None,
        };
        let lines = self.scales.iter().zip(self.biases);
        let lines: Vec<[f16; 2]> = lines.map(|(scale, bias)| [f16::from_f32(*scale), f16::from_f32(*bias)]).collect();
        let most = self.biases.iter().fold(0.0_f32, |most, bias| most.max(bias.abs()));
        if most < LEAST || !lines.iter().flatten().all(|number| number.is_finite()) {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.words.len() / self.bits * dtype.type_size());
        for (place, block) in self.blocks().enumerate() {
            lines[place * BLOCK / self.group].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            if dtype == GgmlDType::Q5_1 {
                bytes.extend(fifths(&block).to_le_bytes());
            }
            let (low, high) = block.split_at(BLOCK / 2);
            bytes.extend(low.iter().zip(high).map(|(low, high)| low & 0xf | high << 4));
        }
        Some((dtype, bytes))
    }

    fn blocks(&self) -> impl Iterator<Item = [u8; BLOCK]> {
        let unpack = match self.bits {
            2 => unpack::<2>,
            3 => unpack::<3>,
            4 => unpack::<4>,
            5 => unpack::<5>,
            6 => unpack::<6>,
            _ => unpack::<8>,
        };
        self.words.chunks_exact(self.bits).map(unpack)
    }

    /// Scale and bias of a block.
    fn line(&self, block: usize) -> [f32; 2] {
        let group = block * BLOCK / self.group;
        [self.scales[group], self.biases[group]]
    }
}

/// A number of bits that is known when this is compiled makes its loop straight.
fn unpack<const BITS: usize>(words: &[u32]) -> [u8; BLOCK] {
    std::array::from_fn(|place| {
        // Numbers of 3, 5 and 6 bits cross the ends of words.
        let (word, shift) = (place * BITS / 32, place * BITS % 32);
        let next = words.get(word + 1).map_or(0, |word| u64::from(*word));
        let bits = (u64::from(words[word]) | next << 32) >> shift;
        bits as u8 & (u8::MAX >> (8 - BITS))
    })
}

/// The fifth bits of all numbers.
fn fifths(block: &[u8; BLOCK]) -> u32 {
    block.iter().enumerate().map(|(place, number)| u32::from(number >> 4) << place).sum()
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
