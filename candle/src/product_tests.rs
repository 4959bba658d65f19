use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Module, Tensor};

use super::Product;

const FORMATS: [GgmlDType; 5] = [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1, GgmlDType::Q8_0];

/// Numbers of many sizes, other ones for each `seed`.
fn numbers(rows: usize, columns: usize, seed: u32) -> Tensor {
    let number = |place: usize| {
        let mixed = (place as u32 + 1).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 8;
        (mixed % 2001) as f32 / 1000.0 - 1.0
    };
    Tensor::from_iter((0..rows * columns).map(number), &Device::Cpu).unwrap().reshape((rows, columns)).unwrap()
}

/// What a row of activations is rounded to, as numbers.
fn rounded(x: &Tensor) -> Tensor {
    let round = |block: &[f32]| {
        let scale = block.iter().fold(0.0_f32, |most, number| most.max(number.abs())) / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        block.iter().map(|number| (number * inverse).round_ties_even() * scale).collect::<Vec<_>>()
    };
    let all: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
    let all: Vec<f32> = all.chunks(32).flat_map(round).collect();
    Tensor::from_vec(all, x.shape(), &Device::Cpu).unwrap()
}

fn largest(x: &Tensor) -> f32 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

#[track_caller]
fn check(tokens: usize, rows: usize, columns: usize) {
    for format in FORMATS {
        let packed = QTensor::quantize(&numbers(rows, columns, 1), format).unwrap();
        let plain = packed.dequantize(&Device::Cpu).unwrap();
        let Ok(product) = Product::new(packed.into()) else {
            assert!(!super::avx2::is_there(), "{format:?} is left to Candle");
            continue;
        };
        let x = numbers(tokens, columns, 2);
        let ours = product.forward(&x).unwrap();
        let theirs = rounded(&x).matmul(&plain.t().unwrap()).unwrap();
        let off = largest(&(ours - &theirs).unwrap()) / largest(&theirs);
        assert!(off < 1e-5, "{format:?}, {tokens} by {rows} by {columns}: {off}");
    }
}

#[test]
fn products_are_those_of_the_numbers_that_blocks_stand_for() {
    check(1, 1, 32);
    check(1, 17, 96);
    check(3, 16, 64);
    check(5, 33, 576);
    check(37, 7, 1536);
    check(3, 17, 512);
}

#[test]
fn zeros_stay_zeros() {
    let packed = QTensor::quantize(&numbers(3, 64, 1), GgmlDType::Q4_1).unwrap();
    let Ok(product) = Product::new(packed.into()) else { return assert!(!super::avx2::is_there()) };
    let zeros = product.forward(&numbers(2, 64, 2).zeros_like().unwrap()).unwrap();
    assert!(largest(&zeros).abs() < f32::EPSILON);
}

#[test]
fn blocks_of_other_kinds_are_left_to_candle() {
    let packed = QTensor::quantize(&numbers(2, 256, 1), GgmlDType::Q4K).unwrap();
    assert!(Product::new(packed.into()).is_err());
}
