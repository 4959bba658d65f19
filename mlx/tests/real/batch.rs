//! Several sequences of the real model at once: what each is alone.

use engine::backend::{Backend, Pace, Step};
use engine::message::{Load, Logprobs, Sampling, SequenceId, Submission, TokenId};
use talkied_mlx::{Mlx, Sequence};

use crate::model;

/// Largest difference of a log-probability. On a processor the model's matrices are plain numbers, whose products do
/// not depend on the number of rows; GPUs have other kernels for one row than for several.
const TOLERANCE: f32 = 1e-3;

/// Tokens of each answer.
const LENGTH: u32 = 10;

/// Of different lengths and options.
fn submissions() -> Vec<Submission> {
    let hot = |seed| Sampling { temperature: 0.9, seed, ..Sampling::greedy() };
    let kinds = [
        Sampling::greedy(),
        Sampling { top_p: 0.9, ..hot(1) },
        Sampling { repetition_penalty: 1.2, ..Sampling::greedy() },
        Sampling { top_k: 40, min_p: 0.05, ..hot(2) },
        hot(3),
    ];
    let submission = |(place, sampling): (usize, Sampling)| {
        let prompt: Vec<TokenId> = (0..3 + 17 * place as u32).map(|token| 100 + token * 389 % 9000).collect();
        Submission { sampling, logprobs: Some(2), ..Submission::greedy(SequenceId(1), &prompt, LENGTH) }
    };
    kinds.into_iter().enumerate().map(submission).collect()
}

fn begun(mlx: &mut Mlx, submission: &Submission) -> Sequence {
    let mut sequence = mlx.begin(submission).unwrap();
    let mut done = 0;
    while done + 1 < submission.prompt.len() {
        let Step::Prefill { done: now } = mlx.step(&mut sequence, Pace::Alone).unwrap() else { panic!("a piece") };
        done = now as usize;
    }
    sequence
}

/// Answers of all, of which each joins a step after the one before it.
fn answers(mlx: &mut Mlx, submissions: &[Submission]) -> Vec<Vec<(TokenId, Logprobs)>> {
    let mut sequences: Vec<Sequence> = submissions.iter().map(|submission| begun(mlx, submission)).collect();
    let mut answers = vec![Vec::new(); submissions.len()];
    for turn in 0..LENGTH as usize + submissions.len() {
        let joined = |place: usize| (place..place + LENGTH as usize).contains(&turn);
        let places: Vec<usize> = (0..submissions.len()).filter(|place| joined(*place)).collect();
        let all = sequences.iter_mut().enumerate();
        let mut rows: Vec<&mut Sequence> = all.filter(|(place, _)| joined(*place)).map(|(_, row)| row).collect();
        let steps = mlx.decode(&mut rows);
        for (place, step) in places.into_iter().zip(steps) {
            let Step::Token(token) = step.unwrap() else { panic!("a token") };
            answers[place].push((token, mlx.logprobs(&mut sequences[place]).unwrap().unwrap()));
        }
    }
    answers
}

#[test]
fn sequences_get_together_what_each_gets_alone() {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(model::folder().to_owned()), &mut |_, _| {}).unwrap();
    let submissions = submissions();
    let together = answers(&mut mlx, &submissions);
    let mut largest = 0.0_f32;
    for (submission, together) in submissions.iter().zip(&together) {
        let alone = answers(&mut mlx, std::slice::from_ref(submission)).remove(0);
        let tokens = |answer: &[(TokenId, Logprobs)]| answer.iter().map(|(token, _)| *token).collect::<Vec<_>>();
        assert_eq!(tokens(together), tokens(&alone), "{:?}", submission.sampling);
        assert_eq!(alone.len(), LENGTH as usize);
        for ((_, found), (_, expected)) in together.iter().zip(&alone) {
            largest = largest.max((found.chosen - expected.chosen).abs());
        }
    }
    eprintln!("largest difference of a log-probability: {largest:.1e}");
    assert!(largest <= TOLERANCE, "{largest}");
}
