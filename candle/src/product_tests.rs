use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};

use super::{Kernel, Product, avx2, vnni};

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

/// Those that this processor has.
fn kernels() -> Vec<Kernel> {
    if vnni::is_there() { vec![Kernel::Avx2, Kernel::Vnni] } else { vec![Kernel::Avx2] }
}

#[track_caller]
fn check(tokens: usize, rows: usize, columns: usize) {
    for format in FORMATS {
        let packed = QTensor::quantize(&numbers(rows, columns, 1), format).unwrap();
        let plain = packed.dequantize(&Device::Cpu).unwrap();
        let Ok(mut product) = Product::new(packed.into()) else {
            assert!(!avx2::is_there(), "{format:?} is left to Candle");
            continue;
        };
        let x = numbers(tokens, columns, 2);
        let theirs = rounded(&x).matmul(&plain.t().unwrap()).unwrap();
        for kernel in kernels() {
            product.many = kernel;
            let ours = product.forward(&x).unwrap();
            let off = largest(&(ours - &theirs).unwrap()) / largest(&theirs);
            assert!(off < 2e-6, "{kernel:?}, {format:?}, {tokens} by {rows} by {columns}: {off}");
        }
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
    check(8, 16, 32);
    check(9, 1, 64);
    check(15, 33, 576);
    check(64, 47, 1536);
}

#[test]
fn zeros_stay_zeros() {
    let packed = QTensor::quantize(&numbers(3, 64, 1), GgmlDType::Q4_1).unwrap();
    let Ok(product) = Product::new(packed.into()) else { return assert!(!avx2::is_there()) };
    let zeros = product.forward(&numbers(9, 64, 2).zeros_like().unwrap()).unwrap();
    assert!(largest(&zeros).abs() < f32::EPSILON);
}

#[test]
fn blocks_of_other_kinds_are_left_to_candle() {
    let packed = QTensor::quantize(&numbers(2, 256, 1), GgmlDType::Q4K).unwrap();
    assert!(Product::new(packed.into()).is_err());
}

/// The least and the largest number of a byte beside the largest activations, which two bytes could not hold the sums of.
#[test]
fn blocks_of_the_largest_numbers_are_exact() {
    let columns = 64;
    let bytes: Vec<u8> = (0..32)
        .flat_map(|block: u8| {
            let number = if block.is_multiple_of(2) { i8::MIN } else { i8::MAX };
            [0x00, 0x3c].into_iter().chain([number.cast_unsigned(); 32])
        })
        .collect();
    let storage = QStorage::from_data(bytes.into(), &Device::Cpu, GgmlDType::Q8_0).unwrap();
    let packed = QTensor::new(storage, (16, columns)).unwrap();
    let Ok(mut product) = Product::new(packed.into()) else { return assert!(!avx2::is_there()) };
    for sign in [127.0, -127.0] {
        let x = Tensor::full(sign, (8, columns), &Device::Cpu).unwrap();
        let sum = 32.0 * (f32::from(i8::MIN) + f32::from(i8::MAX)) * sign;
        for kernel in kernels() {
            product.many = kernel;
            let ours = product.forward(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(ours, vec![sum; 8 * 16], "{kernel:?}");
        }
    }
}

/// Rounding goes by groups of rows, in threads.
#[test]
fn a_row_alone_is_rounded_as_among_others() {
    if !avx2::is_there() {
        return;
    }
    let (tokens, columns) = (11, 96);
    let x: Vec<f32> = numbers(tokens, columns, 3).flatten_all().unwrap().to_vec1().unwrap();
    let all = avx2::round(&x, columns);
    for (token, row) in x.chunks(columns).enumerate() {
        let alone = avx2::round(row, columns);
        for block in 0..3 {
            let place = if token < 8 { token / 4 * 12 + block * 4 + token % 4 } else { token * 3 + block };
            assert_eq!(all.bytes[place], alone.bytes[block], "row {token}, block {block}");
            let bits = |line: [f32; 4]| line.map(f32::to_bits);
            assert_eq!(bits(all.lines[place]), bits(alone.lines[block]), "row {token}, block {block}");
        }
    }
    let expected: Vec<f32> = rounded(&numbers(tokens, columns, 3)).flatten_all().unwrap().to_vec1().unwrap();
    let found = all.bytes[24].iter().map(|byte| f32::from(*byte) * all.lines[24][0]);
    assert_eq!(found.collect::<Vec<_>>(), expected[8 * columns..][..32]);
}
