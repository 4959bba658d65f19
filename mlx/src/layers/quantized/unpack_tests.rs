//! What the processors unpack is what MLX unpacks, to the bit.

use mlx_rs::{ops, random};

use super::*;
use crate::config::quantization::Packing;

/// Random numbers, packed by MLX in groups of 32.
fn packed(shape: &[i32], bits: i32) -> Packed {
    let numbers = random::normal::<f32>(shape, 0.0, 1.0, &random::key(1).unwrap()).unwrap();
    let (weight, scales, biases) = ops::quantize(&numbers, 32, bits).unwrap();
    Packed { weight, scales, biases: Some(biases), packing: Packing { mode: Mode::Affine, group_size: 32, bits } }
}

fn check_same(packed: &Packed) {
    let (found, expected) = (unpack(packed).unwrap(), packed.unpack(Dtype::Float32).unwrap());
    assert_eq!(found.shape(), expected.shape());
    assert_eq!(found.to_vec_exact::<f32>().unwrap(), expected.to_vec_exact::<f32>().unwrap());
}

#[test]
fn codes_that_fill_words_are_unpacked_as_mlx_does() {
    for bits in [2, 4, 8] {
        check_same(&packed(&[5, 96], bits));
        check_same(&packed(&[3, 2, 64], bits));
    }
}

#[test]
fn shares_of_several_threads_join() {
    // Three shares and a bit, so that the last one is shorter.
    check_same(&packed(&[3 * PER_THREAD as i32 / 512 + 1, 512], 4));
}

#[test]
fn other_packings_are_left_to_mlx() {
    for bits in [3, 5, 6] {
        assert!(unpack(&packed(&[4, 64], bits)).is_none(), "{bits} bits");
    }
    let mut half = packed(&[4, 64], 4);
    half.scales = half.scales.as_dtype(Dtype::Float16).unwrap();
    assert!(unpack(&half).is_none());
}
