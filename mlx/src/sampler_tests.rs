//! Each part against values worked out by hand, and the whole over seeds.

use super::*;

fn sampling() -> Sampling {
    Sampling { seed: 7, ..Sampling::greedy() }
}

fn row(logits: &[f32]) -> Array {
    Array::from_slice(logits, &[1, logits.len() as i32])
}

fn log_row(probabilities: &[f32]) -> Array {
    row(&probabilities.iter().map(|probability| probability.ln()).collect::<Vec<_>>())
}

fn numbers(array: &Array) -> Vec<f32> {
    array.reshape(&[-1]).unwrap().to_vec_exact().unwrap()
}

/// Which tokens a filter leaves.
fn kept(filtered: &Array) -> Vec<usize> {
    let logits = numbers(filtered);
    (0..logits.len()).filter(|token| logits[*token].is_finite()).collect()
}

/// The next `count` tokens after the same logits.
fn draws(sampling: &Sampling, logits: &Array, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut sampler = Sampler::new(sampling, prompt, logits.shape()[1] as u32).unwrap();
    (0..count).map(|_| sampler.next(logits).unwrap().item_exact::<u32>()).collect()
}

fn adjusted(sampling: &Sampling, logits: &[f32], prompt: &[u32]) -> Vec<f32> {
    let sampler = Sampler::new(sampling, prompt, logits.len() as u32).unwrap();
    numbers(&sampler.adjust(&row(logits)).unwrap())
}

#[test]
fn temperature_zero_takes_the_greatest_logit_whatever_the_seed() {
    for seed in 0..3 {
        let sampling = Sampling { seed, ..sampling() };
        assert_eq!(draws(&sampling, &row(&[0.5, -1.0, 3.0, 2.9]), &[0], 4), [2; 4]);
    }
}

#[test]
fn repetition_divides_positive_logits_and_multiplies_negative_ones_once() {
    let sampling = Sampling { repetition_penalty: 2.0, ..sampling() };
    assert_eq!(adjusted(&sampling, &[4.0, -4.0, 4.0, -4.0], &[0, 0, 1]), [2.0, -8.0, 4.0, -4.0]);
}

#[test]
fn presence_is_subtracted_once_and_frequency_each_time() {
    let presence = Sampling { presence_penalty: 0.5, ..sampling() };
    assert_eq!(adjusted(&presence, &[4.0, -4.0, 1.0], &[0, 0, 1]), [3.5, -4.5, 1.0]);
    let frequency = Sampling { frequency_penalty: 0.5, ..sampling() };
    assert_eq!(adjusted(&frequency, &[4.0, -4.0, 1.0], &[0, 0, 1]), [3.0, -4.5, 1.0]);
}

#[test]
fn bias_comes_before_the_penalties_and_adds_up() {
    let logit_bias = vec![(0, 3.0), (0, 1.0), (2, -1.0)];
    let all =
        Sampling { logit_bias, repetition_penalty: 2.0, presence_penalty: 0.25, frequency_penalty: 0.5, ..sampling() };
    // (0 + 4) / 2 − 0.25 − 2 · 0.5, and untouched by penalties (1 − 1).
    assert_eq!(adjusted(&all, &[0.0, 5.0, 1.0], &[0, 0]), [0.75, 5.0, 0.0]);
}

#[test]
fn only_the_last_twenty_tokens_are_penalized() {
    let sampling = Sampling { presence_penalty: 1.0, ..sampling() };
    let prompt: Vec<u32> = std::iter::once(0).chain([1; 20]).collect();
    assert_eq!(adjusted(&sampling, &[0.0, 0.0, 0.0], &prompt), [0.0, -1.0, 0.0]);
}

#[test]
fn drawn_tokens_join_the_history_and_old_ones_leave_it() {
    // Each token is better than the next by less than the penalty, so the draws go round all of them.
    let logits: Vec<f32> = (0..21).map(|token| -0.01 * token as f32).collect();
    let sampling = Sampling { presence_penalty: 1.0, ..sampling() };
    let expected: Vec<u32> = (1..21).chain(0..5).collect();
    assert_eq!(draws(&sampling, &row(&logits), &[0], 25), expected);
}

#[test]
fn top_p_keeps_the_fewest_tokens_with_that_share() {
    let logprobs = log_row(&[0.1, 0.4, 0.2, 0.3]);
    assert_eq!(kept(&filters::top_p(&logprobs, &Array::from_f32(0.35)).unwrap()), [1]);
    assert_eq!(kept(&filters::top_p(&logprobs, &Array::from_f32(0.45)).unwrap()), [1, 3]);
    assert_eq!(kept(&filters::top_p(&logprobs, &Array::from_f32(0.75)).unwrap()), [1, 2, 3]);
    assert_eq!(kept(&filters::top_p(&logprobs, &Array::from_f32(0.95)).unwrap()), [0, 1, 2, 3]);
}

#[test]
fn min_p_keeps_a_share_of_the_likeliest() {
    let logprobs = log_row(&[0.1, 0.4, 0.2, 0.3]);
    assert_eq!(kept(&filters::min_p(&logprobs, &Array::from_f32(0.6_f32.ln())).unwrap()), [1, 3]);
    assert_eq!(kept(&filters::min_p(&logprobs, &Array::from_f32(1.0_f32.ln())).unwrap()), [1]);
}

#[test]
fn top_k_keeps_as_many() {
    let logits = row(&[0.1, 0.4, 0.2, 0.3]);
    assert_eq!(kept(&filters::top_k(&logits, 1).unwrap()), [1]);
    assert_eq!(kept(&filters::top_k(&logits, 3).unwrap()), [1, 2, 3]);
}

#[test]
fn a_seed_gives_the_same_draws_again_and_another_gives_others() {
    let logits = row(&[0.0; 64]);
    let with = |seed| draws(&Sampling { temperature: 1.0, seed, ..sampling() }, &logits, &[0], 16);
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    assert_ne!(with(1), with(1 | 1 << 40));
}

#[test]
fn draws_follow_the_probabilities() {
    // Without logsumexp, for neither the filters nor the draw needs it: the logits are shifted by 100.
    let logits = row(&[0.7_f32.ln() + 100.0, 0.2_f32.ln() + 100.0, 0.1_f32.ln() + 100.0]);
    let drawn = draws(&Sampling { temperature: 1.0, ..sampling() }, &logits, &[0], 2000);
    for (token, share) in [(0, 0.7), (1, 0.2), (2, 0.1)] {
        let found = drawn.iter().filter(|drawn| **drawn == token).count() as f32 / 2000.0;
        assert!((found - share).abs() < 0.05, "token {token}: {found}");
    }
    let cold = draws(&Sampling { temperature: 0.05, ..sampling() }, &logits, &[0], 200);
    assert!(cold.iter().all(|token| *token == 0));
}

#[test]
fn filtered_tokens_are_never_drawn() {
    let logits = log_row(&[0.3, 0.4, 0.2, 0.1]);
    let hot = |sampling: Sampling| draws(&Sampling { temperature: 5.0, ..sampling }, &logits, &[0], 200);
    assert!(hot(Sampling { top_p: 0.6, ..sampling() }).iter().all(|token| *token < 2));
    assert!(hot(Sampling { min_p: 0.7, ..sampling() }).iter().all(|token| *token < 2));
    assert!(hot(Sampling { top_k: 2, ..sampling() }).iter().all(|token| *token < 2));
    let all: std::collections::BTreeSet<_> = hot(Sampling { top_k: 4, ..sampling() }).into_iter().collect();
    assert_eq!(all.len(), 4, "a k of the whole vocabulary keeps all");
}

#[test]
fn a_token_without_a_chance_gives_way_to_the_likeliest() {
    let logits = row(&[0.0, f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY]);
    let of = |token: u32| possible(&logits, &Array::from_slice(&[token], &[1])).unwrap().to_vec_exact::<u32>().unwrap();
    assert_eq!([of(0), of(1), of(2), of(3)], [[0], [2], [2], [2]]);
}

#[test]
fn the_smallest_numbers_are_the_end_of_their_scale() {
    let logits = row(&[1.0, 5.0, 3.0, 4.9]);
    for (temperature, top_p) in [(1e-39, 1.0), (1e-39, 0.5), (1e-30, 1.0), (1.0, 1e-39)] {
        let drawn = draws(&Sampling { temperature, top_p, ..sampling() }, &logits, &[0], 50);
        assert!(drawn.iter().all(|token| *token == 1), "{temperature}, {top_p}: {drawn:?}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let cases = [
        Sampling { temperature: f32::NAN, ..sampling() },
        Sampling { temperature: -1.0, ..sampling() },
        Sampling { top_p: 0.0, ..sampling() },
        Sampling { min_p: 1.5, ..sampling() },
        Sampling { repetition_penalty: 0.0, ..sampling() },
        Sampling { presence_penalty: f32::INFINITY, ..sampling() },
        Sampling { logit_bias: vec![(3, 1.0)], ..sampling() },
        Sampling { logit_bias: vec![(0, f32::NAN)], ..sampling() },
    ];
    for sampling in cases {
        assert!(Sampler::new(&sampling, &[0], 3).is_err(), "{sampling:?}");
    }
}

fn xtc(probability: f32, threshold: f32, spared: &[u32]) -> Xtc {
    Xtc { probability, threshold, spared: spared.to_vec() }
}

#[test]
fn xtc_leaves_the_least_likely_of_those_above_the_threshold() {
    let logits = log_row(&[0.4, 0.3, 0.2, 0.1]);
    let left = |xtc: Xtc| {
        let sampler = Sampler::new(&Sampling { xtc: Some(xtc), ..sampling() }, &[0], 4).unwrap();
        kept(&sampler.xtc(&logits, &random::key(1).unwrap()).unwrap())
    };
    assert_eq!(left(xtc(1.0, 0.15, &[])), [2, 3]);
    assert_eq!(left(xtc(1.0, 0.15, &[0])), [0, 2, 3]);
    // One alone above the threshold stays, and so does everything when none is.
    assert_eq!(left(xtc(1.0, 0.35, &[])), [0, 1, 2, 3]);
    assert_eq!(left(xtc(1.0, 0.5, &[])), [0, 1, 2, 3]);
}

#[test]
fn xtc_happens_as_often_as_it_should() {
    let logits = log_row(&[0.6, 0.3, 0.1]);
    let sampling = Sampling { temperature: 0.01, xtc: Some(xtc(0.5, 0.2, &[])), ..sampling() };
    // So cold that the likeliest of those left is always drawn.
    let drawn = draws(&sampling, &logits, &[0], 400);
    let happened = drawn.iter().filter(|token| **token == 1).count();
    assert!(drawn.iter().all(|token| *token < 2));
    assert!((140..=260).contains(&happened), "{happened} of 400");
}

#[test]
fn xtc_that_spares_what_is_no_token_is_refused() {
    let sampling = Sampling { xtc: Some(xtc(0.5, 0.2, &[3])), ..sampling() };
    assert!(Sampler::new(&sampling, &[0], 3).is_err());
}
