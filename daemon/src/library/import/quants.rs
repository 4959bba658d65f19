//! GGUF's blocks of 32 weights as MLX's affine groups of 32: packed numbers, a scale and a bias per group.
//!
//! A weight is `scale * number + bias` in both worlds, so nothing is rounded: scales stay the 16-bit floats they
//! are, and a bias is its block's minimum, or the scale times a power of two.

use crate::library::gguf::Encoding;

/// Weights of a group.
pub(super) const GROUP_SIZE: u64 = 32;

/// The three tensors of a quantized one, as bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Groups {
    /// Words of 32 bits, little-endian, the first number in the lowest bits.
    pub weight: Vec<u8>,
    /// 16-bit floats.
    pub scales: Vec<u8>,
    /// 16-bit floats.
    pub biases: Vec<u8>,
}

/// Bits of a quantized encoding's numbers; `None` for others.
pub(super) const fn bits(encoding: Encoding) -> Option<u64> {
    match encoding {
        Encoding::Q4_0 | Encoding::Q4_1 => Some(4),
        Encoding::Q8_0 => Some(8),
        _ => None,
    }
}

/// Regroups whole blocks of a quantized encoding.
pub(super) fn regroup(encoding: Encoding, blocks: &[u8], groups: &mut Groups) {
    groups.weight.clear();
    groups.scales.clear();
    groups.biases.clear();
    for block in blocks.chunks_exact(encoding.block().1 as usize) {
        let (scale, rest) = block.split_at(2);
        let times = |power| minus_times_power_of_two(u16::from_le_bytes([scale[0], scale[1]]), power).to_le_bytes();
        groups.scales.extend_from_slice(scale);
        match encoding {
            Encoding::Q4_0 => {
                groups.biases.extend_from_slice(&times(3));
                nibbles(rest, &mut groups.weight);
            }
            Encoding::Q4_1 => {
                let (minimum, rest) = rest.split_at(2);
                groups.biases.extend_from_slice(minimum);
                nibbles(rest, &mut groups.weight);
            }
            Encoding::Q8_0 => {
                groups.biases.extend_from_slice(&times(7));
                // Signed numbers from -128 on become unsigned ones from 0 on.
                groups.weight.extend(rest.iter().map(|byte| byte ^ 0x80));
            }
            _ => unreachable!("{encoding} has no groups"),
        }
    }
}

/// GGUF puts the first 16 numbers in the low halves of its bytes and the last 16 in the high ones; MLX pairs
/// neighbours.
fn nibbles(block: &[u8], weight: &mut Vec<u8>) {
    let (pairs, _) = block.as_chunks::<2>();
    weight.extend(pairs.iter().map(|[even, odd]| (even & 0x0f) | (odd << 4)));
    weight.extend(pairs.iter().map(|[even, odd]| (even >> 4) | (odd & 0xf0)));
}

/// `-(2^power)` times a 16-bit float, which is exact unless it exceeds the largest one and becomes infinite.
fn minus_times_power_of_two(float: u16, power: u16) -> u16 {
    const INFINITE: u16 = 0x1f;
    let (sign, exponent, fraction) = (!float & 0x8000, (float >> 10) & INFINITE, float & 0x3ff);
    let magnitude = match exponent {
        INFINITE => float & 0x7fff,
        0 => {
            // A number without the implied leading bit: it may gain one.
            let fraction = u32::from(fraction) << power;
            let shift = (32 - fraction.leading_zeros()).saturating_sub(11);
            if fraction < 0x400 {
                fraction as u16
            } else {
                ((shift as u16 + 1) << 10) | ((fraction >> shift) as u16 & 0x3ff)
            }
        }
        _ if exponent + power >= INFINITE => INFINITE << 10,
        _ => ((exponent + power) << 10) | fraction,
    };
    sign | magnitude
}

#[cfg(test)]
#[path = "quants_tests.rs"]
mod tests;
