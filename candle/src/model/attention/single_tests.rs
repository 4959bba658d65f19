use candle_core::{Device, Tensor};
use candle_nn::ops;

use super::{Single, exp};

fn numbers(shape: [usize; 3], seed: f32) -> Tensor {
    let count = shape.iter().product::<usize>();
    let number = |index: usize| (index as f32 * 0.37 + seed).sin() * 2.0 + (index as f32 * 0.013).cos();
    Tensor::from_iter((0..count).map(number), &Device::Cpu).unwrap().reshape(&shape).unwrap()
}

/// In a cache that has room for more.
fn cached(heads: usize, tokens: usize, dims: usize, seed: f32) -> Tensor {
    numbers([heads, tokens + 19, dims], seed).narrow(1, 0, tokens).unwrap()
}

#[track_caller]
fn check([heads, shared, tokens, dims]: [usize; 4], cap: Option<f32>) {
    let queries = numbers([heads, shared, dims], 1.0);
    let (keys, values) = (cached(heads, tokens, dims, 2.0), cached(heads, tokens, dims, 3.0));
    let single = Single { scale: 0.2, cap };
    let ours = single.forward(&queries, [&keys, &values]).unwrap();
    let mut scores = (queries.matmul(&keys.t().unwrap().contiguous().unwrap()).unwrap() * 0.2).unwrap();
    if let Some(cap) = cap {
        scores = ((scores / f64::from(cap)).unwrap().tanh().unwrap() * f64::from(cap)).unwrap();
    }
    let theirs = ops::softmax_last_dim(&scores).unwrap().matmul(&values.contiguous().unwrap()).unwrap();
    let off =
        (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    assert!(off < 5e-6, "{heads} heads, {shared} of each, {tokens} tokens of {dims}: {off}");
}

#[test]
fn it_is_what_matrix_products_give() {
    check([1, 1, 1, 8], None);
    check([3, 3, 63, 64], None);
    check([3, 3, 64, 64], None);
    check([2, 4, 65, 96], None);
    check([2, 2, 200, 20], None);
    check([1, 7, 1000, 128], Some(5.0));
}

#[test]
fn a_window_of_a_cache_will_do() {
    let (queries, cache) = (numbers([2, 2, 16], 1.0), numbers([2, 90, 16], 2.0));
    let single = Single { scale: 0.2, cap: None };
    let window = cache.narrow(1, 60, 25).unwrap();
    let copied = window.contiguous().unwrap();
    let answer = |cache: &Tensor| {
        single.forward(&queries, [cache, cache]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(answer(&window), answer(&copied));
}

#[test]
fn numbers_that_do_not_lie_together_are_refused() {
    let (queries, keys) = (numbers([2, 2, 16], 1.0), numbers([2, 16, 30], 2.0));
    let keys = keys.t().unwrap();
    assert!(Single { scale: 1.0, cap: None }.forward(&queries, [&keys, &keys]).is_err());
}

#[test]
fn powers_are_those_of_the_standard_library() {
    for step in 0..8700 {
        let x = -(step as f32) / 100.0;
        let off = (exp::<false>(x) - x.exp()).abs() / x.exp();
        assert!(off < 2.5e-7, "{x}: {off}");
    }
    assert!(exp::<false>(f32::NEG_INFINITY) < 1e-37);
    assert!(exp::<false>(f32::NAN).is_nan(), "a damaged model is noticed");
}
