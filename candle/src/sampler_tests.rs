//! Which tokens each setting leaves, on five logits.

use super::*;

const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, -1.0, 0.0];

fn sampling() -> Sampling {
    Sampling { temperature: 1.0, ..Sampling::greedy() }
}

/// The tokens that come in many draws, in the order of their numbers.
fn drawn(sampling: &Sampling) -> Vec<TokenId> {
    let mut sampler = Sampler::new(sampling, &[], 5).unwrap();
    let mut tokens: Vec<TokenId> = (0..400)
        .map(|_| {
            sampler.history.clear();
            sampler.next(LOGITS.to_vec())
        })
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

#[test]
fn without_a_temperature_the_likeliest_comes_and_of_equals_the_first() {
    let mut sampler = Sampler::new(&Sampling::greedy(), &[], 5).unwrap();
    assert_eq!(sampler.next(LOGITS.to_vec()), 1);
    assert_eq!(sampler.next(vec![0.0, 2.0, 2.0, 1.0, 2.0]), 1);
}

#[test]
fn filters_leave_the_likelier_tokens() {
    // Probabilities: 0.09, 0.64, 0.23, 0.01, 0.03.
    assert_eq!(drawn(&sampling()), [0, 1, 2, 3, 4]);
    assert_eq!(drawn(&Sampling { top_p: 0.6, ..sampling() }), [1]);
    assert_eq!(drawn(&Sampling { top_p: 0.7, ..sampling() }), [1, 2]);
    assert_eq!(drawn(&Sampling { min_p: 0.1, ..sampling() }), [0, 1, 2]);
    assert_eq!(drawn(&Sampling { top_k: 2, ..sampling() }), [1, 2]);
    let xtc = |spared| Some(Xtc { probability: 1.0, threshold: 0.05, spared });
    assert_eq!(drawn(&Sampling { xtc: xtc(vec![]), ..sampling() }), [0, 3, 4]);
    assert_eq!(drawn(&Sampling { xtc: xtc(vec![2]), ..sampling() }), [0, 2, 3, 4]);
}

#[test]
fn a_bias_and_penalties_change_what_is_likeliest() {
    let next =
        |sampling: Sampling, prompt: &[TokenId]| Sampler::new(&sampling, prompt, 5).unwrap().next(LOGITS.to_vec());
    assert_eq!(next(Sampling { logit_bias: vec![(3, 3.0), (3, 2.0)], ..Sampling::greedy() }, &[]), 3);
    assert_eq!(next(Sampling { repetition_penalty: 2.0, ..Sampling::greedy() }, &[1, 1]), 2);
    assert_eq!(next(Sampling { presence_penalty: 0.9, ..Sampling::greedy() }, &[1, 1]), 1);
    assert_eq!(next(Sampling { frequency_penalty: 0.9, ..Sampling::greedy() }, &[1, 1]), 2);
}

#[test]
fn only_the_last_tokens_are_penalized() {
    let sampling = Sampling { presence_penalty: 5.0, ..Sampling::greedy() };
    let prompt: Vec<TokenId> = std::iter::once(1).chain([0; HISTORY]).collect();
    assert_eq!(Sampler::new(&sampling, &prompt, 5).unwrap().next(LOGITS.to_vec()), 1);
    assert_eq!(Sampler::new(&sampling, &prompt[..HISTORY], 5).unwrap().next(LOGITS.to_vec()), 2);
}

#[test]
fn the_same_seed_draws_the_same() {
    let draws = |seed| {
        let mut sampler = Sampler::new(&Sampling { seed, ..sampling() }, &[], 5).unwrap();
        (0..40).map(|_| sampler.next(LOGITS.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(draws(7), draws(7));
    assert_ne!(draws(7), draws(8));
}

#[test]
fn settings_out_of_their_range_are_refused() {
    let xtc = Xtc { probability: 0.5, threshold: 0.1, spared: vec![5] };
    for sampling in [
        Sampling { temperature: f32::NAN, ..sampling() },
        Sampling { top_p: 0.0, ..sampling() },
        Sampling { repetition_penalty: 0.0, ..sampling() },
        Sampling { logit_bias: vec![(5, 1.0)], ..sampling() },
        Sampling { xtc: Some(xtc), ..sampling() },
    ] {
        assert!(matches!(Sampler::new(&sampling, &[], 5), Err(Error::Internal(_))), "{sampling:?}");
    }
}
