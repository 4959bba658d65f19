use super::*;
use crate::library::fixture::half_to_f32;

#[test]
fn scaling_a_half_by_a_power_of_two_is_what_arithmetic_says() {
    for power in [3, 7] {
        for bits in 0..=u16::MAX {
            let expected = -half_to_f32(bits) * f32::from(1_u16 << power);
            let scaled = half_to_f32(minus_times_power_of_two(bits, power));
            // Above the largest half lies only infinity.
            let expected = if expected.abs() > 65_504.0 { f32::INFINITY.copysign(expected) } else { expected };
            assert!(
                scaled.to_bits() == expected.to_bits() || (scaled.is_nan() && expected.is_nan()),
                "{bits:#06x} << {power}"
            );
        }
    }
}

#[test]
fn numbers_keep_their_order_in_little_endian_words() {
    // Numbers 0 to 15 in the low halves, 15 to 0 in the high ones.
    let block: Vec<u8> = [0, 0].into_iter().chain((0..16).map(|n| n | (15 - n) << 4)).collect();
    let mut groups = Groups::default();
    regroup(Encoding::Q4_0, &block, &mut groups);
    let words: Vec<u32> = groups.weight.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    assert_eq!(words, [0x7654_3210, 0xfedc_ba98, 0x89ab_cdef, 0x0123_4567]);
}
