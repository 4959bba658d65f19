//! Every row of the table decoded with all its prompts at once: what mlx-lm computes for each of them alone.

use std::fmt::Write;
use std::path::Path;

use engine::backend::{Backend, Pace, Step};
use engine::message::{Load, TokenId};
use talkied_mlx::{Mlx, Sequence};

use crate::reference::{self, Answer, Row};
use crate::submission;

/// Each with buffers of its own; and sharing them, with a kernel for that and without.
const WAYS: [Option<bool>; 3] = [None, Some(true), Some(false)];

#[test]
fn every_row_decodes_its_prompts_together_to_what_mlx_lm_computes_for_each() {
    let rows = reference::rows();
    let folder = reference::made(&rows);
    let mut wrong = String::new();
    for (place, (row, answers)) in rows.iter().zip(&reference::answers(folder)).enumerate() {
        for way in WAYS {
            let found = together(row, &folder.join(place.to_string()), answers, way);
            for (answer, found) in answers.iter().zip(found) {
                if found != answer.tokens {
                    let (Row { architecture, name, .. }, count) = (row, answer.prompt.len());
                    let tokens = &answer.tokens;
                    writeln!(wrong, "{architecture}, {name}, {way:?}, after {count}: {found:?}, not {tokens:?}")
                        .unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The tokens of all prompts. Each joins two steps after the one before it, so that some leave while others come.
fn together(row: &Row, folder: &Path, answers: &[Answer], way: Option<bool>) -> Vec<Vec<TokenId>> {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.to_owned()), &mut |_, _| {}).unwrap();
    if let Some(has_kernel) = way {
        mlx.share(has_kernel);
    }
    let mut sequences: Vec<Sequence> = answers.iter().map(|answer| computed(&mut mlx, row, answer)).collect();
    let mut found = vec![Vec::new(); answers.len()];
    for turn in 0.. {
        let going: Vec<usize> = (0..answers.len())
            .filter(|place| found[*place].len() < answers[*place].tokens.len() && place * 2 <= turn)
            .collect();
        if going.is_empty() {
            break;
        }
        let mut rows: Vec<&mut Sequence> =
            sequences.iter_mut().enumerate().filter(|(place, _)| going.contains(place)).map(|(_, row)| row).collect();
        for (place, step) in going.into_iter().zip(mlx.decode(&mut rows)) {
            match step.unwrap() {
                Step::Token(token) => found[place].push(token),
                step => panic!("{step:?}"),
            }
        }
    }
    found
}

/// A sequence whose prompt is computed but for its last token.
fn computed(mlx: &mut Mlx, row: &Row, answer: &Answer) -> Sequence {
    let count = answer.prompt.len();
    let mut sequence = mlx.begin(&submission(&answer.prompt, answer.tokens.len(), row.kv_bits())).unwrap();
    let mut done = 0;
    while done + 1 < count {
        match mlx.step(&mut sequence, Pace::Alone).unwrap() {
            Step::Prefill { done: now } => done = now as usize,
            step => panic!("{step:?}"),
        }
    }
    sequence
}
