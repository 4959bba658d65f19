//! Wavelengths worked out by hand.

use super::*;

#[test]
fn llama3_leaves_short_wavelengths_and_stretches_long_ones() {
    let scaling =
        Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position_embeddings: 100.0 };
    // base 10 000 over 8 dimensions: 1, 10, 100, 1000; the wavelengths are 6.3, 62.8, 628 and 6283 tokens, and the
    // limits 25 and 100. For the second, (100 / 62.8 − 1) / 3 = 0.197 of it is left alone.
    let found = llama3(10_000.0, 8, &scaling);
    let smooth = (100.0 / (20.0 * std::f32::consts::PI) - 1.0) / 3.0;
    let expected = [1.0, 10.0 / ((1.0 - smooth) / 8.0 + smooth), 800.0, 8000.0];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found / expected - 1.0).abs() < 1e-5, "{found} is not {expected}");
    }
}

#[test]
fn given_wavelengths_turn_as_the_base_does() {
    let settings = |scaling| Settings { theta: 100.0, traditional: false, scaling };
    // Limits so far out that nothing is stretched.
    let far = 1e9;
    let scaling =
        Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position_embeddings: far };
    let x = Array::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], &[1, 1, 1, 4]);
    let turned = |scaling, offset| -> Vec<f32> {
        Rope::new(&settings(scaling), Heads { count: 1, dims: 4 })
            .unwrap()
            .forward(&x, &Offset::new(vec![offset]))
            .unwrap()
            .to_vec_exact()
            .unwrap()
    };
    let (by_base, by_list) = (turned(Scaling::Plain, 7), turned(Scaling::Llama3(scaling), 7));
    assert!(by_base.iter().zip(&by_list).all(|(a, b)| (a - b).abs() < 1e-5), "{by_base:?} {by_list:?}");
    // A linear factor of 7 moves position 7 to position 1.
    let (slow, first) = (turned(Scaling::Linear(7.0), 7), turned(Scaling::Plain, 1));
    assert!(slow.iter().zip(&first).all(|(a, b)| (a - b).abs() < 1e-5), "{slow:?} {first:?}");
}
