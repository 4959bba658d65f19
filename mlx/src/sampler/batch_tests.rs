//! Rows against the same samplers alone, to the last bit.

use engine::message::Xtc;
use mlx_rs::random;

use super::*;

/// Options of all kinds, each with its own seed.
fn kinds() -> Vec<Sampling> {
    let hot = |seed| Sampling { temperature: 1.3, seed, ..Sampling::greedy() };
    let xtc = |spared: &[u32]| Some(Xtc { probability: 0.7, threshold: 0.01, spared: spared.to_vec() });
    vec![
        Sampling::greedy(),
        hot(1),
        Sampling { top_p: 0.7, ..hot(2) },
        Sampling { min_p: 0.1, ..hot(3) },
        Sampling { top_k: 3, ..hot(4) },
        Sampling { top_k: 11, min_p: 0.01, top_p: 0.99, ..hot(5) },
        Sampling { presence_penalty: 2.0, frequency_penalty: 0.5, ..Sampling::greedy() },
        Sampling { repetition_penalty: 1.7, top_p: 0.9, ..hot(6) },
        Sampling { logit_bias: vec![(3, 4.0), (0, -9.0)], ..hot(7) },
        Sampling { xtc: xtc(&[]), ..hot(8) },
        Sampling { xtc: xtc(&[1, 5, 7]), top_k: 20, ..hot(9) },
        Sampling { xtc: xtc(&[2]), logit_bias: vec![(2, 1.0)], ..Sampling::greedy() },
        Sampling { temperature: 0.01, ..hot(10) },
    ]
}

fn logits(rows: usize, size: i32, seed: u64, dtype: Dtype) -> Array {
    let key = random::key(seed).unwrap();
    let logits = random::normal::<f32>(&[rows as i32, size], 0.0, 3.0, &key).unwrap();
    logits.as_dtype(dtype).unwrap()
}

fn samplers(kinds: &[Sampling], size: i32) -> Vec<Sampler> {
    kinds.iter().map(|sampling| Sampler::new(sampling, &[1, 2, 3, 2], size as u32).unwrap()).collect()
}

/// Tokens of several steps, together and alone.
fn check(kinds: &[Sampling], size: i32, dtype: Dtype) {
    let [mut all, mut alone] = [(); 2].map(|()| samplers(kinds, size));
    for step in 0..12 {
        let logits = logits(kinds.len(), size, step, dtype);
        let mut rows: Vec<&mut Sampler> = all.iter_mut().collect();
        let found = next(&mut rows, &logits).unwrap();
        assert_eq!(found.shape(), [kinds.len() as i32]);
        let found = found.to_vec_exact::<u32>().unwrap();
        let expected: Vec<u32> = alone
            .iter_mut()
            .enumerate()
            .map(|(row, sampler)| {
                let row = part(&logits, row as i32, row as i32 + 1).unwrap();
                sampler.next(&row).unwrap().item_exact::<u32>()
            })
            .collect();
        assert_eq!(found, expected, "step {step}, {size} tokens");
    }
}

#[test]
fn rows_of_all_kinds_get_the_tokens_that_they_get_alone() {
    for size in [96, 97, 1003] {
        check(&kinds(), size, Dtype::Float32);
        check(&kinds(), size, Dtype::Bfloat16);
        let mut turned = kinds();
        turned.reverse();
        check(&turned, size, Dtype::Float32);
    }
}

#[test]
fn rows_of_one_kind_get_the_tokens_that_they_get_alone() {
    for kind in kinds() {
        let rows: Vec<Sampling> = (0..4).map(|seed| Sampling { seed, ..kind.clone() }).collect();
        check(&rows, 96, Dtype::Float32);
    }
}

#[test]
fn a_row_that_asks_for_no_filter_keeps_its_numbers() {
    let hot = Sampling { temperature: 1.0, ..Sampling::greedy() };
    let xtc = Some(Xtc { probability: 1.0, threshold: 0.01, spared: vec![1] });
    let filtered = Sampling { top_p: 0.5, min_p: 0.2, top_k: 4, xtc, ..hot.clone() };
    let kinds = [hot, filtered, Sampling { top_p: 0.1, top_k: 1, ..Sampling::greedy() }];
    let mut all = samplers(&kinds, 50);
    let mut rows: Vec<&mut Sampler> = all.iter_mut().collect();
    let logits = logits(3, 50, 1, Dtype::Float32);
    let given = logits.to_vec_exact::<f32>().unwrap();
    let left = top_p(&rows, logits).and_then(|left| min_p(&rows, left)).unwrap();
    let left = xtc_of(&mut rows, left).and_then(|left| top_k(&rows, left)).unwrap();
    let left = left.to_vec_exact::<f32>().unwrap();
    assert_eq!((&left[..50], &left[100..]), (&given[..50], &given[100..]));
    assert!(left[50..100].iter().filter(|logit| logit.is_finite()).count() < 5);
}

fn xtc_of(rows: &mut [&mut Sampler], logits: Array) -> Result<Array> {
    super::xtc(rows, logits)
}
