//! For which matrices the kernel serves; and on CUDA, its products beside MLX's.

use std::thread;
use std::time::{Duration, Instant};

use mlx_rs::random;

use super::*;

fn affine(group_size: i32, bits: i32) -> Packing {
    Packing { mode: Mode::Affine, group_size, bits }
}

#[test]
fn matrices_are_multiplied_by_the_kernel_where_it_knows_their_numbers() {
    let serves = |shape: &[i32], dtype, packing| Kind::of(shape, dtype, packing, [9, 0]).is_some();
    for dtype in [Dtype::Float16, Dtype::Bfloat16] {
        assert!(serves(&[96, 64], dtype, affine(64, 4)));
        assert!(serves(&[32, 256], dtype, affine(128, 4)));
    }
    // No such units, rows that fill no block, columns that fill no chunk or no group.
    assert!(!serves(&[96, 64], Dtype::Float32, affine(64, 4)));
    assert!(!serves(&[40, 64], Dtype::Bfloat16, affine(64, 4)));
    assert!(!serves(&[32, 96], Dtype::Bfloat16, affine(64, 4)));
    assert!(!serves(&[32, 192], Dtype::Bfloat16, affine(128, 4)));
    // Groups that are smaller than a chunk, other bits, other modes, several matrices.
    assert!(!serves(&[32, 64], Dtype::Bfloat16, affine(32, 4)));
    assert!(!serves(&[32, 64], Dtype::Bfloat16, affine(64, 8)));
    assert!(!serves(&[32, 64], Dtype::Bfloat16, Packing { mode: Mode::Mxfp4, group_size: 64, bits: 4 }));
    assert!(!serves(&[2, 32, 64], Dtype::Bfloat16, affine(64, 4)));
    // A GPU without such units.
    assert!(Kind::of(&[32, 64], Dtype::Float16, affine(64, 4), [7, 5]).is_none());
    assert!(Kind::of(&[32, 64], Dtype::Float16, affine(64, 4), [12, 0]).is_some());
}

#[test]
fn texts_are_told_apart_by_name_and_hold_nothing_for_people() {
    let mut names = Vec::new();
    for (dtype, group_size) in [(Dtype::Float16, 64), (Dtype::Bfloat16, 64), (Dtype::Bfloat16, 128)] {
        for (capability, is_small) in [([8, 0], true), ([8, 0], false), ([9, 0], false)] {
            let own = kernel::own(Kind { dtype, group_size, capability }, is_small);
            let text = own.alone();
            assert!(!text.contains("//") && text.len() < 7000, "{} bytes: {text}", text.len());
            names.push(own.name);
        }
    }
    assert_eq!(names.len(), 9);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 9);
}

#[cfg(target_os = "linux")]
#[test]
fn texts_compile_for_every_kind() {
    let _loaded = nvrtc::tests::load();
    let wrong = nvrtc::compile("__global__ void wrong() { nonsense(); }", [9, 0]).unwrap_err();
    assert!(wrong.to_string().contains("nonsense"), "{wrong}");
    for dtype in [Dtype::Float16, Dtype::Bfloat16] {
        for (group_size, capability) in [(64, [8, 0]), (128, [9, 0]), (64, [12, 0])] {
            for is_small in [true, false] {
                let own = kernel::own(Kind { dtype, group_size, capability }, is_small);
                assert!(nvrtc::compile(&own.alone(), capability).unwrap().starts_with(b"\x7fELF"));
            }
        }
    }
}

/// Run on a machine with CUDA: `cargo test -p talkied-mlx --lib few_rows -- --ignored`.
#[test]
#[ignore = "wants a GPU with CUDA"]
fn products_differ_from_those_of_plain_numbers_by_rounding() {
    for (dtype, least) in [(Dtype::Float16, 1e-3), (Dtype::Bfloat16, 8e-3)] {
        for (columns, group_size) in [(64, 64), (320, 64), (3072, 64), (256, 128), (8192, 128)] {
            let numbers = random::normal::<f32>(&[96, columns], 0.0, 1.0, None).unwrap().as_dtype(dtype).unwrap();
            let packed = Packed::pack(&numbers, group_size, 4).unwrap();
            let kernel = FewRows::of(&[96, columns], dtype, packed.packing).unwrap();
            compile(kernel.kind).unwrap();
            let until = Instant::now() + Duration::from_mins(1);
            while !kernel.ready.get() {
                assert!(Instant::now() < until, "the kernel is not compiled");
                thread::sleep(Duration::from_millis(10));
            }
            // MLX finds what was compiled: it would take seconds for it.
            let begun = Instant::now();
            for rows in [16, 192] {
                let x = random::normal::<f32>(&[1, rows, columns], 0.0, 1.0, None).unwrap().as_dtype(dtype).unwrap();
                kernel.matmul(&x, rows, &packed).unwrap().unwrap().eval().unwrap();
            }
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?} for the first products", begun.elapsed());
            let plain = packed.unpack(Dtype::Float32).unwrap().transpose().unwrap();
            for rows in [1, 2, 7, 8, 9, 16, 17, 32, 33, 48, 63, 64, 65, 100, 128, 129, 192] {
                let x = random::normal::<f32>(&[1, rows, columns], 0.0, 1.0, None).unwrap().as_dtype(dtype).unwrap();
                let found = kernel.matmul(&x, rows, &packed).unwrap().unwrap();
                assert_eq!((found.shape(), found.dtype()), ([1, rows, 96].as_slice(), dtype));
                let expected = x.as_dtype(Dtype::Float32).unwrap().matmul(&plain).unwrap();
                let difference = expected.subtract(found.as_dtype(Dtype::Float32).unwrap()).unwrap().abs().unwrap();
                let (most, largest) = (difference.max(None).unwrap(), expected.abs().unwrap().max(None).unwrap());
                let (most, largest) = (most.item_exact::<f32>(), largest.item_exact::<f32>());
                assert!(most <= largest * least, "{rows} rows of {columns}, {dtype:?}: {most} of {largest}");
            }
            assert!(
                kernel
                    .matmul(&random::normal::<f32>(&[1, 193, columns], 0.0, 1.0, None).unwrap(), 193, &packed)
                    .is_none()
            );
        }
    }
}
