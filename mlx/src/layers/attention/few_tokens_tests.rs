//! For which attention the kernel serves; and on CUDA, what it answers beside products.

use std::thread;
use std::time::{Duration, Instant};

use mlx_rs::{ops, random};

use super::*;
use crate::layers::attention::{causal_mask, plain};

#[test]
fn attention_is_the_kernels_where_it_knows_the_numbers_and_others_are_slower() {
    let plain = Scores::of(64);
    let serves = |shape: &[i32], dtype, seen, scores| Kind::of(shape, dtype, seen, scores, [9, 0]).is_some();
    for dtype in [Dtype::Float16, Dtype::Bfloat16] {
        assert!(serves(&[1, 6, 60, 64], dtype, 2060, plain));
        assert!(serves(&[1, 6, 1, 64], dtype, 768, plain));
        assert!(serves(&[16, 6, 1, 128], dtype, 9000, Scores::of(128)));
    }
    // No such units, heads of other sizes.
    assert!(!serves(&[1, 6, 60, 64], Dtype::Float32, 2060, plain));
    assert!(!serves(&[1, 6, 60, 96], Dtype::Bfloat16, 2060, Scores::of(96)));
    // What MLX's kernel or cuDNN's is better for.
    assert!(!serves(&[1, 6, 1, 64], Dtype::Bfloat16, 769, plain));
    assert!(!serves(&[1, 6, 512, 64], Dtype::Bfloat16, 2048, plain));
    // Scores that are more than products.
    let sinks = Array::from_slice(&[0.0_f32; 6], &[6]);
    let others = [Scores { cap: Some(1.0), ..plain }, Scores { sinks: Some(&sinks), ..plain }, Scores::of(32)];
    assert!(!others.into_iter().any(|scores| serves(&[1, 6, 60, 64], Dtype::Bfloat16, 2060, scores)));
    // A GPU without such units.
    assert!(Kind::of(&[1, 6, 60, 64], Dtype::Float16, 2060, plain, [7, 5]).is_none());
}

#[cfg(target_os = "linux")]
#[test]
fn texts_compile_for_every_kind() {
    let _loaded = nvrtc::tests::load();
    let mut names = Vec::new();
    for dtype in [Dtype::Float16, Dtype::Bfloat16] {
        for (dims, capability) in [(64, [8, 0]), (128, [9, 0]), (128, [12, 0])] {
            let own = kernel::own(Kind { dtype, dims, capability });
            let text = own.alone();
            assert!(!text.contains("//") && text.len() < 12_000, "{} bytes: {text}", text.len());
            assert!(nvrtc::compile(&text, capability).unwrap().starts_with(b"\x7fELF"));
            names.push(own.name);
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6);
}

/// Run on a machine with CUDA: `cargo test -p talkied-mlx --lib few_tokens -- --ignored`.
#[test]
#[ignore = "wants a GPU with CUDA"]
fn what_is_seen_differs_from_products_of_plain_numbers_by_rounding() {
    let normal = |shape: &[i32], dtype| random::normal::<f32>(shape, 0.0, 1.0, None).unwrap().as_dtype(dtype).unwrap();
    for (dtype, least) in [(Dtype::Float16, 1e-3), (Dtype::Bfloat16, 8e-3)] {
        for (dims, tokens, rows, befores) in [
            (64, 60, 1, vec![1984]),
            (128, 16, 1, vec![0]),
            (128, 17, 1, vec![100]),
            (128, 5, 1, vec![0]),
            (64, 1, 1, vec![300]),
            (128, 1, 4, vec![5, 700, 0, 1023]),
            (64, 1, 2, vec![1, 2]),
        ] {
            let scores = Scores::of(dims);
            let seen = befores.iter().max().unwrap() + tokens;
            // Heads of a product for all, and room behind what is seen.
            let all = normal(&[rows, 8, tokens, dims], dtype);
            let queries = crate::array::heads(&all, 0, 6).unwrap();
            let [keys, values] = [0; 2].map(|_| normal(&[rows, 2, seen + 40, dims], dtype));
            let axes: &[i32] = if rows == 1 { &[] } else { &[rows, 1, 1, 1] };
            let before = Array::from_slice(&befores, &[rows]).reshape(axes).unwrap();
            compile(Kind { dtype, dims, capability: device::capability().unwrap() }).unwrap();
            let until = Instant::now() + Duration::from_mins(1);
            let found = loop {
                let found = attend(&queries, [&keys, &values], || before.clone(), seen, scores);
                if let Some(found) = found {
                    break found.unwrap();
                }
                assert!(Instant::now() < until, "the kernel is not compiled");
                thread::sleep(Duration::from_millis(10));
            };
            assert_eq!((found.shape(), found.dtype()), ([rows, 6, tokens, dims].as_slice(), dtype));
            for (row, before) in befores.iter().enumerate() {
                let row = row as i32;
                let own = |array: &Array, end| {
                    let array = crate::array::block(array, row..row + 1, 0..end).unwrap();
                    array.as_dtype(Dtype::Float32).unwrap()
                };
                let seen = before + tokens;
                let mask = causal_mask(tokens, seen).unwrap();
                let [queries, keys, values] = [own(&queries, tokens), own(&keys, seen), own(&values, seen)];
                let expected = plain::attend(&queries, &keys, &values, Some(&mask), scores).unwrap();
                let difference = ops::subtract(&expected, own(&found, tokens)).unwrap().abs().unwrap();
                let (most, largest) = (difference.max(None).unwrap(), expected.abs().unwrap().max(None).unwrap());
                let (most, largest) = (most.item_exact::<f32>(), largest.item_exact::<f32>());
                assert!(most <= largest * least, "{tokens} of {seen}, {dims}, {dtype:?}: {most} of {largest}");
            }
        }
    }
}
