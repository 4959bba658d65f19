//! What comes back from the cache, at the edges of its steps.

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
    for (count, room) in [(255, 256), (1, 256), (1, 512), (600, 1024)] {
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
