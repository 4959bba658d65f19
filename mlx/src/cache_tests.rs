//! What comes back from the cache, at the edges of its steps.

use mlx_rs::Dtype;

use super::*;

/// One head of one number per token: the token's own position.
fn positions(from: i32, count: i32) -> Array {
    let positions: Vec<f32> = (from..from + count).map(|position| position as f32).collect();
    Array::from_slice(&positions, &[1, 1, count, 1])
}

#[test]
fn everything_written_comes_back_in_order() {
    let mut cache = FullCache::default();
    let mut start = 0;
    for count in [1, 254, 1, 1, 300, 2] {
        let new = positions(start, count);
        let (keys, values) = cache.update(&new, &new).unwrap();
        start += count;
        let expected: Vec<f32> = (0..start).map(|position| position as f32).collect();
        for view in [keys, values] {
            assert_eq!(view.shape(), [1, 1, start, 1]);
            assert_eq!(view.reshape(&[-1]).unwrap().to_vec_exact::<f32>().unwrap(), expected);
        }
        assert_eq!(cache.len(), start);
    }
}

#[test]
fn room_grows_by_steps() {
    let mut cache = FullCache::default();
    for (count, room) in [(255, 264), (9, 264), (1, 520), (600, 1032)] {
        let new = positions(0, count);
        cache.update(&new, &new).unwrap();
        assert!(
            cache.buffers().into_iter().flatten().all(|buffer| buffer.shape() == [1, 1, room, 1]),
            "after {count} more"
        );
    }
}

#[test]
fn a_wrong_shape_is_an_error() {
    let flat = Array::from_slice(&[1.0_f32], &[1, 1]);
    assert!(FullCache::default().update(&flat, &flat).is_err());
}

#[test]
fn a_convolution_sees_zeros_and_then_the_last_tokens() {
    for chunks in [[1, 1, 1, 1, 1, 1], [6, 0, 0, 0, 0, 0], [2, 1, 3, 0, 0, 0], [1, 4, 1, 0, 0, 0]] {
        let mut cache = ConvCache::new(4);
        let mut start = 0;
        for count in chunks.into_iter().filter(|count| *count > 0) {
            let new = positions(start, count).reshape(&[1, count, 1]).unwrap();
            let seen = cache.update(&new).unwrap().to_vec_exact::<f32>().unwrap();
            let expected: Vec<f32> = (start - 3..start + count).map(|position| position.max(0) as f32).collect();
            assert_eq!(seen, expected, "{chunks:?} from {start}");
            start += count;
            assert_eq!(cache.len(), start);
            // No chunk is held whole.
            assert!(cache.buffers().into_iter().flatten().all(|buffer| buffer.shape() == [1, 3, 1]));
        }
    }
    assert!(ConvCache::new(4).update(&positions(0, 1)).is_err());
}

const BITS: [KvBits; 2] = [KvBits::Four, KvBits::Eight];

/// Two heads of 64 numbers, which are in turns the token's own position and zero: few bits hold them as they are.
fn in_turns(from: i32, count: i32) -> Array {
    let turns = Array::from_iter((0..64).map(|place| (place % 2) as f32), &[1, 1, 1, 64]);
    let both = positions(from, count).multiply(turns).unwrap();
    ops::concatenate(&[&both, &both], 1).unwrap()
}

#[test]
fn everything_packed_comes_back_in_order() {
    for bits in BITS {
        let mut cache = PackedCache::new(bits, 64);
        assert!(cache.packed().is_err() && cache.buffers().is_empty());
        let mut start = 0;
        for (count, room) in [(1, 256), (254, 256), (1, 256), (1, 512), (300, 768), (2, 768)] {
            let new = in_turns(start, count);
            cache.append(&new, &new.negative().unwrap()).unwrap();
            start += count;
            assert_eq!(cache.len(), start);
            assert!(cache.buffers().into_iter().flatten().all(|buffer| buffer.shape()[..3] == [1, 2, room]));
            let (keys, values) = cache.unpacked().unwrap();
            let expected = in_turns(0, start);
            for (found, expected) in [(keys, expected.clone()), (values, expected.negative().unwrap())] {
                assert_eq!(found.shape(), [1, 2, start, 64]);
                let difference = found.subtract(expected).unwrap().abs().unwrap().max(None).unwrap();
                assert!(difference.item_exact::<f32>() < 1e-3, "{bits:?}, {count} more");
            }
        }
    }
}

#[test]
fn packed_keys_and_values_take_little_of_what_plain_ones_take() {
    let bytes = |cache: &Cache| cache.state().map(Array::nbytes).sum::<usize>() as f64;
    for (bits, dtype, most) in [
        (KvBits::Eight, Dtype::Bfloat16, 0.54),
        (KvBits::Four, Dtype::Bfloat16, 0.29),
        (KvBits::Eight, Dtype::Float32, 0.29),
        (KvBits::Four, Dtype::Float32, 0.16),
    ] {
        let new = in_turns(0, 5000).as_dtype(dtype).unwrap();
        let (mut plain, mut packed) = (FullCache::default(), PackedCache::new(bits, 64));
        plain.update(&new, &new).unwrap();
        packed.append(&new, &new).unwrap();
        let share = bytes(&Cache::Packed(packed)) / bytes(&Cache::Full(plain));
        assert!(share < most, "{bits:?} of {dtype:?}: {share}");
    }
}

#[test]
fn groups_are_as_large_as_heads_allow() {
    let size = |dims| packed::group_size(dims).map_err(|error| error.to_string());
    assert_eq!([64, 128, 256].map(size), [Ok(64), Ok(64), Ok(64)]);
    assert_eq!([32, 96, 160].map(size), [Ok(32), Ok(32), Ok(32)]);
    for dims in [16, 80] {
        let words = size(dims).unwrap_err();
        assert!(words.contains(&format!("heads have {dims} numbers")), "{words}");
    }
}

#[test]
fn only_what_grows_without_bounds_is_packed() {
    let caches = vec![Cache::full(), Cache::window(20), Cache::conv(3), Cache::full()];
    let caches = in_bits(caches, KvBits::Eight, 64).unwrap();
    assert!(matches!(caches[..], [Cache::Packed(_), Cache::Window(_), Cache::Conv(_), Cache::Packed(_)]));
    let Err(Error::NotSupported(words)) = in_bits(vec![Cache::window(20), Cache::conv(3)], KvBits::Four, 64) else {
        panic!("there is nothing to pack")
    };
    assert!(words.contains("in 4 bits") && words.contains("window"), "{words}");
}
