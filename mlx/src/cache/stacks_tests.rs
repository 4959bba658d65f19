//! What layers keep as plain numbers, frozen together and thawed together or apart.

use mlx_rs::Dtype;

use super::*;

/// Tokens of a chunk here.
const LEN: usize = 4;

/// A layer of `heads` heads of 64 numbers, each of which is the token's position times `factor`, and times -1 for values.
fn layer(tokens: i32, heads: i32, factor: f32, dtype: Dtype) -> Cache {
    let positions = Array::from_iter((0..tokens).map(|token| token as f32 * factor), &[1, 1, tokens, 1]);
    let keys = ops::broadcast_to(&positions, &[1, heads, tokens, 64]).unwrap().as_dtype(dtype).unwrap();
    let mut cache = FullCache::default();
    cache.update(&keys, &keys.negative().unwrap()).unwrap();
    Cache::Full(cache)
}

/// Three layers that are alike, one of another width, one of another type, and a window among them.
fn layers(tokens: i32) -> Vec<Cache> {
    let plain = |factor| layer(tokens, 2, factor, Dtype::Float32);
    let mut window = Cache::window(3);
    if let Cache::Window(cache) = &mut window {
        let new = Array::zeros::<f32>(&[1, 2, tokens, 64]).unwrap();
        cache.update(&new, &new).unwrap();
    }
    let others = [layer(tokens, 1, 5.0, Dtype::Float32), layer(tokens, 1, 7.0, Dtype::Float16)];
    [plain(1.0), window, plain(2.0), plain(3.0)].into_iter().chain(others).collect()
}

fn empty() -> Vec<Cache> {
    (0..6).map(|layer| if layer == 1 { Cache::window(3) } else { Cache::full() }).collect()
}

/// The keys and values that a layer has of these tokens.
fn rows(cache: &Cache, tokens: Range<i32>) -> Option<[Vec<f32>; 2]> {
    let Cache::Full(cache) = cache else { return None };
    let numbers =
        |array: Array| array.as_dtype(Dtype::Float32).unwrap().reshape(&[-1]).unwrap().to_vec_exact().unwrap();
    Some(cache.rows(tokens).unwrap().map(numbers))
}

#[test]
fn layers_that_are_alike_are_in_one_array() {
    let chunks = freeze(&layers(30), 0..7, LEN).unwrap();
    assert_eq!(chunks.len(), 7);
    for stacks in chunks {
        let shapes: Vec<_> = stacks.iter().map(|stack| (stack.shape().to_vec(), stack.dtype())).collect();
        let of = |buffers, heads, dtype| (vec![buffers, heads, 4, 64], dtype);
        assert_eq!(shapes, [of(6, 2, Dtype::Float32), of(2, 1, Dtype::Float32), of(2, 1, Dtype::Float16)]);
    }
}

#[test]
fn what_is_thawed_is_what_was_frozen() {
    let whole = layers(90);
    // More than are copied together, and in two parts.
    let mut chunks = freeze(&whole, 0..3, LEN).unwrap();
    chunks.extend(freeze(&whole, 3..22, LEN).unwrap());
    let room_of_one = plain_room(90) as usize * 2 * 64 * 4;
    for count in [1, 8, 9, 22] {
        let path: Vec<&[Array]> = chunks[..count].iter().map(Vec::as_slice).collect();
        let tokens = (count * LEN) as i32;
        for most_bytes in [0, room_of_one, 4 * room_of_one, usize::MAX] {
            let mut caches = empty();
            thaw(&mut caches, &path, tokens, 90, most_bytes).unwrap();
            for (layer, (thawed, cache)) in caches.iter().zip(&whole).enumerate().filter(|(layer, _)| *layer != 1) {
                assert_eq!(thawed.len(), tokens);
                let words = format!("layer {layer}, {count} chunks, {most_bytes} bytes");
                assert_eq!(rows(thawed, 0..tokens), rows(cache, 0..tokens), "{words}");
                let buffers: Vec<_> = thawed.state().map(|buffer| (buffer.shape()[2], buffer.dtype())).collect();
                let dtype = if layer == 5 { Dtype::Float16 } else { Dtype::Float32 };
                assert_eq!(buffers, [(plain_room(90), dtype); 2], "{words}");
            }
        }
    }
}

#[test]
fn a_stack_shares_no_buffer_with_a_cache() {
    let mut caches = layers(300);
    let place = |caches: &[Cache]| {
        transforms::eval(caches.iter().flat_map(Cache::state)).unwrap();
        let Cache::Full(cache) = &caches[0] else { panic!("another cache") };
        cache.buffers().map(|buffer| buffer.unwrap().as_slice::<f32>().as_ptr())
    };
    let stacks = freeze(&caches, 1..3, LEN).unwrap().concat();
    transforms::eval(&stacks).unwrap();
    let before = place(&caches);
    let new = Array::zeros::<f32>(&[1, 2, 1, 64]).unwrap();
    let Cache::Full(cache) = &mut caches[0] else { panic!("another cache") };
    cache.update(&new, &new).unwrap();
    assert_eq!(place(&caches), before, "written in place");
    assert_eq!(stacks[0].nbytes(), 6 * 2 * 4 * 64 * 4);
}

#[test]
fn buffers_made_together_are_written_apart() {
    let chunks = freeze(&layers(90), 0..22, LEN).unwrap();
    let path: Vec<&[Array]> = chunks.iter().map(Vec::as_slice).collect();
    let mut caches = empty();
    thaw(&mut caches, &path, 88, 90, usize::MAX).unwrap();
    let others = [2, 3].map(|layer: usize| rows(&caches[layer], 0..88));
    let new = Array::ones::<f32>(&[1, 2, 88, 64]).unwrap();
    let Cache::Full(cache) = &mut caches[0] else { panic!("another cache") };
    cache.cut(0);
    cache.update(&new, &new).unwrap();
    assert_eq!(rows(&caches[0], 0..88), Some([vec![1.0; 2 * 88 * 64], vec![1.0; 2 * 88 * 64]]));
    assert_eq!([2, 3].map(|layer: usize| rows(&caches[layer], 0..88)), others);
}
