//! Every mode, group size and number of bits: unpacked by hand, and in products with what that gives.

use mlx_rs::Stream;
use mlx_rs::random;

use super::*;

const ROWS: i32 = 24;
const COLUMNS: i32 = 256;

fn packings() -> Vec<Packing> {
    let mut packings = Vec::new();
    for bits in [2, 3, 4, 5, 6, 8] {
        packings.extend([32, 64, 128].map(|group_size| Packing { mode: Mode::Affine, group_size, bits }));
    }
    let floats = [(Mode::Mxfp4, 32, 4), (Mode::Nvfp4, 16, 4), (Mode::Mxfp8, 32, 8)];
    packings.extend(floats.map(|(mode, group_size, bits)| Packing { mode, group_size, bits }));
    packings
}

fn random(shape: &[i32], seed: u64) -> Array {
    random::normal::<f32>(shape, 0.0, 1.0, &random::key(seed).unwrap()).unwrap()
}

/// `numbers`, packed by MLX.
fn packed(numbers: &Array, packing: Packing) -> Quantized {
    let some = |value| mlx_sys::mlx_optional_int { value, has_value: true };
    let arrays: Vec<Array> = unsafe {
        let mut result = mlx_sys::mlx_vector_array_new();
        let (group_size, bits, mode) = (some(packing.group_size), some(packing.bits), packing.mode.name().as_ptr());
        let (none, stream) = (mlx_sys::mlx_array_new(), Stream::thread_local_or_default());
        let numbers = numbers.as_ptr();
        let status = mlx_sys::mlx_quantize(&raw mut result, numbers, group_size, bits, mode, none, stream.as_ptr());
        assert_eq!(status, 0);
        let array = |place| {
            let mut array = mlx_sys::mlx_array_new();
            assert_eq!(mlx_sys::mlx_vector_array_get(&raw mut array, result, place), 0);
            Array::from_ptr(array)
        };
        let arrays = (0..mlx_sys::mlx_vector_array_size(result)).map(array).collect();
        mlx_sys::mlx_vector_array_free(result);
        arrays
    };
    let mut arrays = arrays.into_iter();
    let (weight, scales, biases) = (arrays.next().unwrap(), arrays.next().unwrap(), arrays.next());
    Quantized {
        packed: Packed { weight, scales, biases, packing },
        dtype: Dtype::Float32,
        unpack_from: None,
        flattens: false,
        few_rows: None,
    }
}

/// The numbers of all rows, from the bits.
fn by_hand(quantized: &Quantized) -> Vec<f32> {
    let Packed { weight, scales, biases, packing } = &quantized.packed;
    let words: Vec<u32> = weight.to_vec_exact().unwrap();
    let bits = packing.bits as usize;
    // Codes lie one after the other, the lowest bits of the lowest byte first.
    let bit = |place: usize| (words[place / 32] >> (place % 32)) & 1;
    let code = |place: usize| (0..bits).map(|low| bit(place * bits + low) << low).sum::<u32>();
    let codes = (0..words.len() * 32 / bits).map(code);
    let group = |place: usize| place / packing.group_size as usize;
    if packing.mode == Mode::Affine {
        let (scales, biases) = (scales.to_vec_exact::<f32>().unwrap(), biases.as_ref().unwrap().to_vec_exact::<f32>());
        let biases = biases.unwrap();
        return codes
            .enumerate()
            .map(|(place, code)| scales[group(place)] * code as f32 + biases[group(place)])
            .collect();
    }
    let scales: Vec<u8> = scales.to_vec_exact().unwrap();
    let number = |(place, code): (usize, u32)| {
        let scale = scales[group(place)];
        match packing.mode {
            Mode::Nvfp4 => float(code, 4, 1) * float(scale.into(), 8, 3),
            Mode::Mxfp4 => float(code, 4, 1) * f32::from(scale.wrapping_sub(127).cast_signed()).exp2(),
            _ => float(code, 8, 3) * f32::from(scale.wrapping_sub(127).cast_signed()).exp2(),
        }
    };
    codes.enumerate().map(number).collect()
}

/// A sign, an exponent and `fraction` bits, `bits` in all, as the microscaling formats have them (OCP MX 1.0).
fn float(code: u32, bits: u32, fraction: u32) -> f32 {
    let sign = if code >> (bits - 1) == 1 { -1.0 } else { 1.0 };
    let exponent = (code >> fraction) & ((1 << (bits - 1 - fraction)) - 1);
    let middle = (1 << (bits - 2 - fraction)) - 1;
    let part = (code & ((1 << fraction) - 1)) as f32 / (1 << fraction) as f32;
    let (whole, power) = if exponent == 0 { (0.0, 1 - middle) } else { (1.0, exponent.cast_signed() - middle) };
    sign * (whole + part) * (power as f32).exp2()
}

fn check_close(found: &Array, expected: &Array, packing: Packing) {
    assert_eq!(found.shape(), expected.shape(), "{packing}");
    let [found, expected] = [found, expected].map(|array| array.to_vec_exact::<f32>().unwrap());
    let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-3, "{packing}: {difference}");
}

/// `x · wᵀ`
fn product(x: &Array, numbers: &Array) -> Array {
    x.matmul(numbers.transpose_axes(&[0, 2, 1]).unwrap()).unwrap()
}

#[test]
fn every_packing_is_known_by_its_shapes() {
    for packing in packings() {
        let quantized = packed(&random(&[ROWS, COLUMNS], 1), packing);
        let Packed { weight, scales, .. } = &quantized.packed;
        let found = Packing::of(COLUMNS, weight.shape()[1], scales.shape()[1], scales.dtype());
        assert_eq!(found, Some(packing));
    }
}

#[test]
fn every_packing_is_unpacked_as_its_bits_say() {
    for packing in packings() {
        let numbers = random(&[ROWS, COLUMNS], 2);
        let quantized = packed(&numbers, packing);
        let expected = Array::from_slice(&by_hand(&quantized), &[ROWS, COLUMNS]);
        check_close(&quantized.unpacked().unwrap(), &expected, packing);
        let ids = Array::from_slice(&[7_u32, 0, 23, 7], &[2, 2]);
        let rows = ops::indexing::take_axis(&expected, &ids, 0).unwrap();
        check_close(&quantized.rows(&ids).unwrap(), &rows, packing);
        // Packing loses little, so that these are the numbers and not merely some.
        let lost = expected.subtract(&numbers).unwrap().abs().unwrap().mean(None).unwrap().item_exact::<f32>();
        assert!(lost < 0.8 / f32::from(1_i16 << (packing.bits - 1)) + 0.05, "{packing}: {lost}");
    }
}

#[test]
fn products_are_those_of_the_unpacked_numbers() {
    for packing in packings() {
        let mut quantized = packed(&random(&[ROWS, COLUMNS], 3), packing);
        let expected = Array::from_slice(&by_hand(&quantized), &[1, ROWS, COLUMNS]);
        for tokens in [1, 5] {
            let x = random(&[1, tokens, COLUMNS], 4);
            check_close(&quantized.matmul(&x).unwrap(), &product(&x, &expected), packing);
        }
        quantized.unpack_from = Some(5 * COLUMNS as usize);
        let x = random(&[1, 5, COLUMNS], 5);
        check_close(&quantized.matmul(&x).unwrap(), &product(&x, &expected), packing);
    }
}

#[test]
fn rows_of_several_sequences_are_those_of_one_matrix() {
    for packing in packings() {
        let quantized = packed(&random(&[ROWS, COLUMNS], 3), packing);
        let expected = Array::from_slice(&by_hand(&quantized), &[1, ROWS, COLUMNS]);
        let flattens = Quantized { flattens: true, ..quantized };
        for (rows, tokens) in [(5, 1), (1, 1), (1, 3), (2, 3), (1, 48), (48, 1), (1, 96), (1, 17)] {
            let x = random(&[rows, tokens, COLUMNS], 4);
            check_close(&flattens.matmul(&x).unwrap(), &product(&x, &expected), packing);
        }
    }
}

#[test]
fn each_row_meets_the_matrix_it_asks_for() {
    for packing in packings() {
        let quantized = packed(&random(&[3, ROWS, COLUMNS], 6), packing);
        let all = Array::from_slice(&by_hand(&quantized), &[3, ROWS, COLUMNS]);
        let x = random(&[4, 1, COLUMNS], 7);
        for (ids, order) in [([2_u32, 0, 2, 1], Order::Any), ([0, 1, 1, 2], Order::Sorted)] {
            let ids = Array::from_slice(&ids, &[4]);
            let expected = product(&x, &ops::indexing::take_axis(&all, &ids, 0).unwrap());
            check_close(&quantized.gather(&x, &ids, order).unwrap(), &expected, packing);
        }
    }
}

#[test]
fn what_mlx_refuses_is_an_error_that_names_the_packing() {
    let quantized = packed(&random(&[ROWS, COLUMNS], 8), packings()[0]);
    let error = quantized.matmul(&random(&[1, 3, 7], 9)).unwrap_err();
    assert!(error.what().contains("affine with 2 bits in groups of 32"), "{}", error.what());
}
