//! Every architecture whose layers can take tokens back, with guesses: the tokens of one without.

use std::path::Path;

use engine::backend::{Backend, Pace, Step};
use engine::message::{FailureKind, Load, Sampling, Speculation, Submission, TokenId};
use talkied_mlx::Mlx;

use crate::reference::{self, Row};
use crate::submission;

const TOKENS: usize = 40;

/// Rows that have a window or a convolution cannot: these have neither.
const CAN: [&str; 12] = [
    "gemma",
    "gemma2",
    "llama",
    "ministral3",
    "mistral",
    "mistral3",
    "mixtral",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
];

#[test]
fn guesses_change_no_row() {
    let rows = reference::rows();
    let folder = reference::made(&rows);
    let mut guessed = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let found = compare(row, &folder.join(place.to_string()));
        eprintln!("{:14} {:28} {found:?}", row.architecture, row.name);
        guessed.push((row.architecture.as_str(), found));
    }
    for architecture in CAN {
        let of = guessed.iter().filter(|(name, _)| *name == architecture);
        let most = of.filter_map(|(_, found)| *found).max();
        assert!(most.is_some_and(|most| most > 0), "{architecture}: {most:?} guesses were right");
    }
}

/// How many guesses were right; `None` where they are refused.
fn compare(row: &Row, folder: &Path) -> Option<u32> {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.to_owned()), &mut |_, _| {}).unwrap();
    let text: Vec<TokenId> = (0..40).map(|place| (place * 37 + place * place / 5) % 160).collect();
    let prompt = text.repeat(3);
    let mut guessed = 0;
    // Tokens are drawn from few, so that they repeat.
    let few = Sampling { temperature: 0.3, top_k: 2, ..Sampling::greedy() };
    let drawn = [1, 2].map(|seed| Sampling { seed, ..few.clone() });
    for sampling in [Sampling::greedy()].into_iter().chain(drawn) {
        let plain = Submission { sampling, ..submission(&prompt, TOKENS, row.kv_bits()) };
        let (expected, _) = answer(&mut mlx, &plain);
        let guessing = Submission { speculation: Speculation::Lookup, ..plain };
        if let Err(failure) = mlx.begin(&guessing) {
            assert_eq!(failure.kind, FailureKind::NotSupported, "{failure}");
            return None;
        }
        let (found, count) = answer(&mut mlx, &guessing);
        assert_eq!(found, expected, "{}, {}, {:?}", row.architecture, row.name, guessing.sampling);
        guessed += count;
    }
    Some(guessed)
}

/// The tokens, and how many of them were guessed.
fn answer(mlx: &mut Mlx, submission: &Submission) -> (Vec<TokenId>, u32) {
    let mut sequence = mlx.begin(submission).unwrap();
    let mut tokens = Vec::new();
    while tokens.len() < TOKENS {
        if let Step::Token(token) = mlx.step(&mut sequence, Pace::Alone).unwrap() {
            tokens.push(token);
        }
    }
    (tokens, mlx.speculated(&sequence))
}
