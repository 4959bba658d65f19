//! Masks on logits, and sequences that obey: on a tiny checkpoint whose tokens are the printable characters.

use engine::backend::{Backend, Pace, Step};
use engine::grammar::{Constraint, Grammar, Vocabulary};
use engine::message::{FailureKind, Load, Sampling, SequenceId, Submission, TokenId};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;
use crate::Mlx;
use crate::checkpoint::Checkpoint;
use crate::device::Device;

/// Token 0 is a space, 94 is `~`.
const END: TokenId = 95;

fn token(character: char) -> TokenId {
    u32::from(character) - 0x20
}

fn text(tokens: &[TokenId]) -> String {
    tokens.iter().filter_map(|token| char::from_u32(token + 0x20)).collect()
}

/// A checkpoint with a tokenizer, whose weights leave all tokens about equally likely.
fn folder() -> TempDir {
    let folder = Checkpoint::llama().write();
    let vocab: Map<String, Value> = (0..END).map(|token| (text(&[token]), json!(token))).collect();
    let added = json!([{ "id": END, "content": "<end>", "special": true }]);
    let tokenizer = json!({ "model": { "vocab": vocab }, "decoder": { "type": "Fuse" }, "added_tokens": added });
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn loaded(folder: &TempDir) -> Mlx {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap();
    mlx
}

fn submission(grammar: &Grammar, seed: u64) -> Submission {
    let sampling = Sampling { temperature: 1.0, seed, ..Sampling::greedy() };
    let (grammar, stop_tokens) = (Some(grammar.clone()), vec![END]);
    Submission { sampling, grammar, stop_tokens, ..Submission::greedy(SequenceId(1), &[1, 2, 3], 200) }
}

/// The text of a submission, and whether it ended by itself.
fn answer(mlx: &mut Mlx, submission: &Submission) -> (String, bool) {
    let mut sequence = mlx.begin(submission).unwrap();
    let mut tokens = Vec::new();
    while tokens.len() < submission.max_tokens as usize {
        match mlx.step(&mut sequence, Pace::Alone).unwrap() {
            Step::Prefill { .. } => {}
            Step::Token(END) => return (text(&tokens), true),
            Step::Token(token) => tokens.push(token),
            Step::Last(token) => {
                tokens.push(token);
                return (text(&tokens), true);
            }
        }
    }
    (text(&tokens), false)
}

fn regex(pattern: &str) -> Grammar {
    Grammar::Regex(pattern.into())
}

#[test]
fn logits_of_tokens_that_may_not_come_are_no_more() {
    let folder = folder();
    let mut vocabulary = Vocabulary::new(folder.path().to_owned(), 97);
    let mut constraint = vocabulary.constrain(&regex("a(b|c)*"), &[END]).unwrap();
    let device = Device::open().unwrap();
    let kept = |constraint: &mut Constraint| {
        device.scope(|| {
            let logits = Array::from_slice(&[0.5_f32; 97], &[1, 97]);
            let masked: Vec<f32> = mask(&logits, &constraint.allowed(97).unwrap())
                .unwrap()
                .reshape(&[-1])
                .unwrap()
                .to_vec_exact()
                .unwrap();
            assert!(masked.iter().all(|logit| [0.5, f32::NEG_INFINITY].contains(logit)));
            (0..97).filter(|token| masked[*token as usize] > 0.0).collect::<Vec<_>>()
        })
    };
    assert_eq!(kept(&mut constraint), [token('a')]);
    assert!(!constraint.accept(token('a')).unwrap());
    // Whole, but it may go on. Token 96 has a row, and is none.
    assert_eq!(kept(&mut constraint), [token('b'), token('c'), END]);
    assert!(!constraint.accept(token('c')).unwrap());
    assert!(constraint.accept(END).unwrap());
}

#[test]
fn every_text_obeys_at_any_temperature() {
    let folder = folder();
    let mut mlx = loaded(&folder);
    let grammar = regex("(yes|no|maybe [0-9]{2,4})!");
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let (text, ended) = answer(&mut mlx, &submission(&grammar, seed));
        assert!(ended && (["yes!", "no!"].contains(&text.as_str()) || text.starts_with("maybe ")), "{text}");
        seen.insert(text);
    }
    assert!(seen.len() > 2, "a grammar leaves the choice to the draw: {seen:?}");
    let cold = Submission { sampling: Sampling::greedy(), ..submission(&grammar, 0) };
    assert_eq!(answer(&mut mlx, &cold), answer(&mut mlx, &cold));
    assert!(answer(&mut mlx, &cold).0.ends_with('!'));
}

#[test]
fn the_likeliest_allowed_token_is_taken_whatever_else_is_likelier() {
    let folder = folder();
    let mut mlx = loaded(&folder);
    let logits = mlx.logits(&[1, 2, 3]).unwrap();
    let allowed = ['x', 'Q', '7', '(', 'm'];
    let likeliest =
        allowed.into_iter().max_by(|a, b| logits[token(*a) as usize].total_cmp(&logits[token(*b) as usize]));
    let greedy = Submission { sampling: Sampling::greedy(), ..submission(&regex("[xQ7(m]"), 0) };
    assert_eq!(answer(&mut mlx, &greedy), (likeliest.unwrap().to_string(), true));
    // Filters look at the tokens that are left.
    let filtered = Sampling { temperature: 1.0, top_p: 0.01, top_k: 90, min_p: 0.1, ..Sampling::greedy() };
    let bias = vec![(token('z'), 1000.0)];
    let filtered = Sampling { logit_bias: bias, presence_penalty: 2.0, repetition_penalty: 1.5, ..filtered };
    let filtered = Submission { sampling: filtered, ..greedy };
    assert_eq!(answer(&mut mlx, &filtered), (likeliest.unwrap().to_string(), true));
}

#[test]
fn a_text_that_cannot_end_in_time_is_cut() {
    let folder = folder();
    let mut mlx = loaded(&folder);
    let (text, ended) = answer(&mut mlx, &submission(&regex("(ab){1000}"), 1));
    assert_eq!((text, ended), ("ab".repeat(100), false));
}

#[test]
fn grammars_that_cannot_be_used_are_refused_before_anything_is_computed() {
    let folder = folder();
    let mut mlx = loaded(&folder);
    for (grammar, words) in [
        (regex("[a&&b]"), "it matches nothing"),
        // Sound, but not with these tokens.
        (regex("ä"), "it matches nothing"),
        (Grammar::JsonSchema(r#"{"properties":{"a":{"not":{}}}}"#.into()), "/properties/a: Unimplemented keys"),
        (Grammar::Lark("start: <|im_end|>".into()), "line 1, column 8: unknown special token"),
    ] {
        let failure = mlx.begin(&submission(&grammar, 1)).map(drop).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidGrammar);
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[test]
fn a_dead_end_in_the_middle_is_the_grammars_fault() {
    let folder = folder();
    let mut mlx = loaded(&folder);
    let mut sequence = mlx.begin(&submission(&regex("aä"), 1)).unwrap();
    let failure = loop {
        match mlx.step(&mut sequence, Pace::Alone) {
            Ok(step) => assert!(matches!(step, Step::Prefill { .. } | Step::Token(_))),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.kind, FailureKind::InvalidGrammar);
    assert!(failure.message.contains("cannot be followed further"), "{failure}");
}

#[test]
fn a_model_without_a_tokenizer_still_answers_freely() {
    let folder = Checkpoint::llama().write();
    let mut mlx = loaded(&folder);
    let failure = mlx.begin(&submission(&Grammar::JsonObject, 1)).map(drop).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ModelBroken);
    assert!(failure.message.contains("tokenizer.json"), "{failure}");
    assert_eq!(mlx.greedy(&[1], 3).unwrap().len(), 3);
}
