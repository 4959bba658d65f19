//! A sliding window against the formula on numbers, however its tokens come; packed keys and values against plain ones.

use engine::message::KvBits;
use mlx_rs::random;

use super::*;
use crate::cache::{FullCache, PackedCache};

fn attend_alone(new: [&Array; 3], cache: &mut Cache, scores: Scores<'_>) -> Result<Array> {
    attend_one(new, cache, &mut Pass::default(), scores)
}

/// One head of one dimension: scores are all equal, so that each token gets the mean of the values it sees.
fn means(window: i32, chunks: &[i32]) -> Vec<f32> {
    let mut cache = Cache::window(window);
    let mut means = Vec::new();
    let mut start = 0;
    for count in chunks {
        let values: Vec<f32> = (start..start + count).map(|position| position as f32).collect();
        let values = Array::from_slice(&values, &[1, 1, *count, 1]);
        let flat = Array::from_slice(&vec![0.0_f32; *count as usize], &[1, 1, *count, 1]);
        let seen = attend_alone([&flat, &flat, &values], &mut cache, Scores::of(1)).unwrap();
        means.extend(seen.reshape(&[-1]).unwrap().to_vec_exact::<f32>().unwrap());
        start += count;
        assert_eq!(cache.len(), start);
    }
    means
}

#[test]
fn each_token_sees_its_window_however_the_tokens_come() {
    let cases: &[(i32, &[i32])] = &[
        (4, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (4, &[10]),
        (4, &[3, 1, 1, 1, 5, 1, 2]),
        (4, &[4, 4, 1, 4, 1, 1, 1, 1, 1, 3]),
        (1, &[2, 1, 1, 3]),
        (300, &[250, 10, 1, 1, 60, 1, 1, 90, 1]),
    ];
    for (window, chunks) in cases {
        let found = means(*window, chunks);
        for (position, mean) in found.iter().enumerate() {
            let position = position as f32;
            let first = (position - *window as f32 + 1.0).max(0.0);
            let expected = f32::midpoint(first, position);
            assert!(
                (mean - expected).abs() < 1e-3,
                "window {window} of {chunks:?} at {position}: {mean}, not {expected}"
            );
        }
    }
}

#[test]
fn products_see_what_the_kernel_sees() {
    for (tokens, seen) in [(1, 1), (1, 70), (5, 5), (7, 70)] {
        let key = |seed| random::key(seed).unwrap();
        let queries = random::normal::<f32>(&[1, 6, tokens, 64], None, None, &key(1)).unwrap();
        let [keys, values] =
            [2, 3].map(|seed| random::normal::<f32>(&[1, 2, seen, 64], None, None, &key(seed)).unwrap());
        let mask = causal_mask(tokens, seen).unwrap();
        for past in [Some(&mask), None].into_iter().take(if tokens == 1 { 2 } else { 1 }) {
            let found = plain::attend(&queries, &keys, &values, past, Scores::of(64)).unwrap();
            let kernel = scaled_dot_product_attention(&queries, &keys, &values, 0.125, Mask::Causal, None).unwrap();
            let difference = found.subtract(kernel).unwrap().abs().unwrap().max(None).unwrap();
            assert!(difference.item_exact::<f32>() < 1e-5, "{tokens} of {seen}");
        }
    }
}

#[test]
fn shapes_that_hardly_come_again_are_odd() {
    assert!([(60, 60), (30, 2014), (512, 513), (300, 512)].into_iter().all(|(tokens, keys)| is_odd(tokens, keys)));
    let usual = [(1, 1), (1, 700), (512, 512), (512, 1024), (1280, 1280), (2048, 2048), (2048, 4096), (1500, 9000)];
    assert!(!usual.into_iter().any(|(tokens, keys)| is_odd(tokens, keys)));
}

#[test]
fn a_window_holds_no_more_than_itself() {
    let mut cache = Cache::window(20);
    let new = |count: i32| Array::from_slice(&vec![0.0_f32; count as usize], &[1, 1, count, 1]);
    for count in [1, 30, 1, 7, 1, 1, 100, 1] {
        let new = new(count);
        attend_alone([&new, &new, &new], &mut cache, Scores::of(1)).unwrap();
        assert!(cache.state().all(|buffer| buffer.shape()[2] <= 20), "after {count} more");
    }
}

/// How scores are computed by some model: plain, with a cap, with sinks.
fn kinds_of_scores(sinks: &Array) -> [Scores<'_>; 3] {
    let plain = Scores::of(64);
    [plain, Scores { cap: Some(1.5), ..plain }, Scores { sinks: Some(sinks), ..plain }]
}

/// Pairs of query heads, or each alone, that look at packed tokens: what plain attention sees when it gets the numbers
/// that the packed ones stand for.
#[test]
fn packed_tokens_are_seen_as_what_they_stand_for() {
    let normal = |heads: i32, tokens: i32, seed: u64| {
        let seeds = random::key(seed).unwrap();
        random::normal::<f32>(&[1, heads, tokens, 64], 0.0, 2.0, &seeds).unwrap()
    };
    let sinks = Array::from_slice(&[2.0_f32, -1.0, 0.5, 4.0], &[4]);
    for (bits, kv_heads) in [(KvBits::Four, 2), (KvBits::Eight, 2), (KvBits::Four, 4), (KvBits::Eight, 1)] {
        for scores in kinds_of_scores(&sinks) {
            let mut packed = Cache::Packed(PackedCache::new(bits, 64));
            let mut start: i32 = 0;
            for count in [1, 1, 253, 1, 1, 7, 1] {
                let seed = u64::from(start.unsigned_abs()) * 3;
                let [keys, values] = [0, 1].map(|more| normal(kv_heads, count, seed + more));
                let queries = normal(4, count, seed + 2);
                let found = attend_alone([&queries, &keys, &values], &mut packed, scores).unwrap();
                start += count;
                let Cache::Packed(cache) = &packed else { unreachable!("it is packed") };
                let (keys, values) = cache.unpacked().unwrap();
                let expected = seen(&queries, &keys, &values, scores);
                let difference = found.subtract(expected).unwrap().abs().unwrap().max(None).unwrap();
                let difference = difference.item_exact::<f32>();
                assert!(difference < 1e-4, "{bits:?}, {kv_heads} heads, {scores:?}, {start} tokens: {difference}");
            }
        }
    }
}

/// What the last of the tokens see, as many as there are `queries`.
fn seen(queries: &Array, keys: &Array, values: &Array, scores: Scores<'_>) -> Array {
    let (all, new) = (keys.shape()[2], queries.shape()[2]);
    let mut cache = Cache::Full(FullCache::default());
    let part = |array: &Array, start, end| crate::array::rows(array, start, end).unwrap();
    if all > new {
        let (keys, values) = (part(keys, 0, all - new), part(values, 0, all - new));
        let Cache::Full(full) = &mut cache else { unreachable!("it is full") };
        full.update(&keys, &values).unwrap();
    }
    attend_alone([queries, &part(keys, all - new, all), &part(values, all - new, all)], &mut cache, scores).unwrap()
}
