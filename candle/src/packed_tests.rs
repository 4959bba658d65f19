//! Every number of bits and group size gives back what was packed.

use std::borrow::Cow;

use candle_core::Device;
use candle_core::quantized::{QStorage, QTensor};

use super::*;

/// `values` of so many bits, one after the other, the lowest first.
fn pack(values: &[u32], bits: u32) -> Vec<u32> {
    let bit = |place: usize| values[place / bits as usize] >> (place % bits as usize) & 1;
    let word = |word: usize| (0..32).map(|place| bit(word * 32 + place) << place).sum();
    (0..values.len() * bits as usize / 32).map(word).collect()
}

#[test]
fn all_packings_give_back_their_numbers() {
    for bits in BITS {
        for group in GROUP_SIZES {
            let (rows, columns) = (3, 2 * group as usize);
            let values: Vec<u32> = (0..(rows * columns) as u32).map(|i| i * 37 % (1 << bits)).collect();
            let scales: Vec<f32> = (0..2 * rows).map(|place| 0.5 + place as f32).collect();
            let biases: Vec<f32> = (0..2 * rows).map(|place| -(place as f32)).collect();
            let expected = |(place, value): (usize, &u32)| {
                let group = place / group as usize;
                scales[group] * *value as f32 + biases[group]
            };
            let expected: Vec<f32> = values.iter().enumerate().map(expected).collect();
            let words = pack(&values, bits);
            let packed = Affine::new(&words, &scales, &biases, [rows, columns]).unwrap();
            assert_eq!(packed.numbers(), expected, "{bits} bits in groups of {group}");
            let Some((dtype, bytes)) = packed.ggml() else {
                assert!(bits > 5, "{bits} bits have blocks");
                continue;
            };
            let storage = QStorage::from_data(Cow::Owned(bytes), &Device::Cpu, dtype).unwrap();
            let blocks = QTensor::new(storage, (rows, columns)).unwrap().dequantize(&Device::Cpu).unwrap();
            let blocks: Vec<f32> = blocks.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(blocks, expected, "{bits} bits in groups of {group}, {dtype:?}");
        }
    }
}

#[test]
fn what_does_not_add_up_is_refused() {
    let ones = [1.0; 4];
    let is_known =
        |words: &[u32], scales: &[f32], biases: &[f32], size| Affine::new(words, scales, biases, size).is_some();
    assert!(is_known(&[0; 16], &ones, &ones, [2, 64]));
    assert!(!is_known(&[0; 15], &ones, &ones, [2, 64]), "bits");
    assert!(!is_known(&[0; 16], &ones[..3], &ones[..3], [2, 64]), "groups");
    assert!(!is_known(&[0; 16], &ones, &ones[..3], [2, 64]), "biases");
    assert!(!is_known(&[], &[], &[], [usize::MAX, 2]), "more numbers than there are");
}

#[test]
fn numbers_beyond_float16_stay_out_of_blocks() {
    let has_blocks =
        |scales: &[f32], biases: &[f32]| Affine::new(&[0; 16], scales, biases, [2, 64]).unwrap().ggml().is_some();
    assert!(has_blocks(&[1e-5; 4], &[-1.0; 4]), "one group may be small");
    assert!(!has_blocks(&[1.0, 1e6, 1.0, 1.0], &[-1.0; 4]), "too large");
    assert!(!has_blocks(&[1e-8; 4], &[-1e-7; 4]), "too small");
}
