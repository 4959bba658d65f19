//! Every architecture against mlx-lm, on small random checkpoints: the same likeliest tokens, and nearly the same logits.
//!
//! `rows.json` is the table: a row is a configuration of an architecture. What mlx-lm found is kept in the target folder
//! under a name made of everything that decides it.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may end in a panic, and shows its figures")]

mod batch;
mod contradictions;
mod convert;
#[path = "../real/given.rs"]
mod given;
mod prefix;
mod reference;
mod speculation;

use std::fmt::Write;

use engine::backend::Backend;
use engine::message::{KvBits, Load, SequenceId, Submission, TokenId};
use talkied_mlx::Mlx;

use reference::{Answer, Row};

/// Largest difference of a logit, as a share of the range of all logits.
const TOLERANCE: f32 = 2e-3;

#[test]
fn every_row_is_what_mlx_lm_computes() {
    let rows = reference::rows();
    let folder = reference::made(&rows);
    let answers = reference::answers(folder);
    assert_eq!(rows.len(), answers.len());
    let mut table = String::new();
    let mut wrong = Vec::new();
    for (place, (row, answers)) in rows.iter().zip(&answers).enumerate() {
        let verdict = compare(row, &folder.join(place.to_string()), answers);
        let (line, good) = match verdict {
            Ok(difference) => (format!("tokens equal, largest difference {difference:.1e}"), difference <= TOLERANCE),
            Err(problem) => (problem, false),
        };
        writeln!(table, "{:14} {:28} {line}", row.architecture, row.name).unwrap();
        if !good {
            wrong.push(format!("{}, {}: {line}", row.architecture, row.name));
        }
    }
    eprintln!("{table}");
    assert!(wrong.is_empty(), "{} of {} rows are wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn every_architecture_has_a_row() {
    let rows: Vec<Row> = reference::rows();
    for architecture in engine::ARCHITECTURES {
        assert!(rows.iter().any(|row| row.architecture == *architecture), "no row has {architecture}");
    }
}

/// The largest difference over all prompts, or what is wrong.
fn compare(row: &Row, folder: &std::path::Path, answers: &[Answer]) -> Result<f32, String> {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.to_owned()), &mut |_, _| {}).map_err(|failure| failure.to_string())?;
    let (mut largest, mut plain) = (0.0_f32, 0.0_f32);
    for answer in answers {
        let count = answer.prompt.len();
        let tokens = mlx
            .tokens(&submission(&answer.prompt, answer.tokens.len(), row.kv_bits()))
            .map_err(|failure| failure.to_string())?;
        let whole = [answer.prompt.as_slice(), &answer.tokens].concat();
        for (ids, theirs) in [(&answer.prompt, &answer.first), (&whole, &answer.last)] {
            let difference = |kv_bits| {
                let ours = mlx.logits_after(&submission(ids, 1, kv_bits)).map_err(|failure| failure.to_string())?;
                Ok::<_, String>(difference(&ours, theirs))
            };
            largest = largest.max(difference(row.kv_bits())?);
            if row.kv_bits().is_some() {
                plain = plain.max(difference(None)?);
            }
        }
        if tokens != answer.tokens {
            return Err(format!("after {count}: {tokens:?}, not {:?}; difference {largest:.1e}", answer.tokens));
        }
    }
    if row.kv_bits().is_some() && plain <= 2.0 * TOLERANCE {
        return Err(format!("a cache of plain numbers is as near: {plain:.1e}"));
    }
    Ok(largest)
}

fn submission(prompt: &[TokenId], count: usize, kv_bits: Option<KvBits>) -> Submission {
    Submission { kv_bits, ..Submission::greedy(SequenceId(1), prompt, count as u32) }
}

/// Infinite where a number is missing or none.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    if ours.len() != theirs.len() || ours.iter().chain(theirs).any(|number| !number.is_finite()) {
        return f32::INFINITY;
    }
    let most = theirs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let least = theirs.iter().copied().fold(f32::INFINITY, f32::min);
    let largest = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    largest / (most - least)
}
