//! A cache made of frozen chunks goes on as the one that they were taken from.

use engine::message::KvBits;

use super::*;
use crate::array::tokens_of;
use crate::cache::{ConvCache, FullCache, PackedCache, WindowCache};

/// Tokens of a chunk here.
const LEN: usize = 4;

/// Two heads of so many numbers: each the token's own position, negative in the second.
fn positions(from: i32, count: i32, dims: i32) -> Array {
    let row = |sign: f32| Array::from_iter((from..from + count).map(|token| sign * token as f32), &[1, 1, count, 1]);
    let both = ops::concatenate(&[row(1.0), row(-1.0)], 1).unwrap();
    ops::multiply(&both, Array::ones::<f32>(&[1, 1, 1, dims]).unwrap()).unwrap()
}

/// What a step of `count` tokens sees, a list for keys and one for values, each in some order where it is one token.
fn seen(cache: &mut Cache, count: i32) -> Vec<Vec<f32>> {
    let (from, dims) = (cache.len(), 32);
    let new = positions(from, count, dims);
    let both = match cache {
        Cache::Full(cache) => cache.update(&new, &new).unwrap(),
        Cache::Window(cache) => cache.update(&new, &new).unwrap(),
        Cache::Packed(cache) => {
            cache.append(&new, &new).unwrap();
            cache.unpacked().unwrap()
        }
        Cache::Conv(cache) => {
            let both = positions(from, count, 1).reshape(&[1, -1, 1]).unwrap();
            // Those of the first head.
            let new = tokens_of(&both, 0, count).unwrap();
            let all = cache.update(&new).unwrap();
            (all.clone(), all)
        }
    };
    let listed = |array: Array| {
        let mut numbers = array.reshape(&[-1]).unwrap().to_vec_exact::<f32>().unwrap();
        if count == 1 {
            numbers.sort_by(f32::total_cmp);
        }
        numbers
    };
    vec![listed(both.0), listed(both.1)]
}

fn kinds() -> Vec<(&'static str, Cache)> {
    let windows = [1, 2, 3, 4, 5, 6, 9, 300].map(|window| ("window", Cache::Window(WindowCache::new(window))));
    let convs = [1, 2, 3, 5].map(|tokens| ("conv", Cache::Conv(ConvCache::new(tokens))));
    let packed = Cache::Packed(PackedCache::new(KvBits::Eight, 32));
    let full = Cache::Full(FullCache::default());
    [("full", full), ("packed", packed)].into_iter().chain(windows).chain(convs).collect()
}

/// Runs `steps` on an empty cache, freezes the chunks that were passed after each, and answers them.
fn frozen(empty: &Cache, steps: &[i32], ahead: i32) -> Vec<Chunk> {
    let mut caches = [empty.fork().unwrap()];
    let mut chunks = Vec::new();
    for step in steps {
        seen(&mut caches[0], *step);
        let passed = (caches[0].len() - ahead).max(0) as usize / LEN;
        if passed > chunks.len() {
            chunks.extend(Chunk::freeze(&caches, chunks.len()..passed, LEN).unwrap());
        }
        if *step > 1 {
            caches[0].forget();
        }
    }
    chunks
}

/// Whether one cache can be thawed from all of `path`.
fn can_thaw(empty: &Cache, path: &[&Chunk]) -> bool {
    Chunk::reach(path, &[empty.fork().unwrap()], LEN) == path.len()
}

fn is_whole(chunk: &Chunk, empty: &Cache) -> bool {
    chunk.is_whole(&[empty.fork().unwrap()], LEN)
}

/// That a cache thawed from the first chunks sees what a cold one sees, in steps of one token and of several.
fn check(name: &str, empty: &Cache, steps: &[i32], ahead: i32) {
    let chunks = frozen(empty, steps, ahead);
    let path: Vec<&Chunk> = chunks.iter().collect();
    assert!(!path.is_empty());
    for count in 1..=path.len() {
        let path = &path[..count];
        assert!(can_thaw(empty, path), "{name}, {count} chunks after {steps:?}");
        assert!(is_whole(path[count - 1], empty), "{name}, chunk {count} after {steps:?}");
        for next in [vec![1; 12], vec![3, 1, 1, 6, 1], vec![9, 1, 300, 1]] {
            let (mut cold, mut warm) = (empty.fork().unwrap(), [empty.fork().unwrap()]);
            seen(&mut cold, (count * LEN) as i32);
            Chunk::thaw(path, &mut warm, LEN, 20, 0).unwrap();
            let [mut warm] = warm;
            assert_eq!(warm.len(), cold.len());
            for step in next {
                let (expected, found) = (seen(&mut cold, step), seen(&mut warm, step));
                assert_eq!(found, expected, "{name}, {count} chunks after {steps:?}, then {step}");
            }
        }
    }
}

#[test]
fn a_thawed_cache_sees_what_a_cold_one_sees() {
    for (name, empty) in kinds() {
        check(name, &empty, &[4, 4, 4, 4], 0);
        check(name, &empty, &[19], 0);
        check(name, &empty, &[3, 7, 2, 9], 0);
        check(name, &empty, &[1; 18], 0);
        // The step after the last that is known to be sound is under way.
        check(name, &empty, &[1; 18], 1);
        check(name, &empty, &[6, 1, 1, 1, 1, 1, 1, 1], 1);
    }
}

#[test]
fn what_is_gone_is_not_made_up() {
    for empty in [Cache::window(3), Cache::conv(3)] {
        let mut caches = [empty.fork().unwrap()];
        seen(&mut caches[0], 10);
        caches[0].forget();
        let gone = Chunk::freeze(&caches, 0..1, LEN).unwrap();
        assert!(!is_whole(&gone[0], &empty) && !can_thaw(&empty, &[&gone[0]]));
    }
}

#[test]
fn a_gap_in_a_window_is_found() {
    let chunks = frozen(&Cache::window(9), &[16], 0);
    let path: Vec<&Chunk> = chunks.iter().collect();
    let none = Chunk { stacks: Vec::new(), layers: vec![Piece::Window(None)] };
    let empty = Cache::window(9);
    assert!(can_thaw(&empty, &[&none, path[1], path[2]]), "eight tokens before the next are there");
    assert!(!can_thaw(&empty, &[path[0], &none, path[2]]));
    assert!(!can_thaw(&empty, &[path[0], path[1], &none]));
    // A window that has not seen as many as it could.
    assert!(can_thaw(&empty, &path[..1]) && !can_thaw(&empty, &[&none]));
}
