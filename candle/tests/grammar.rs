//! Texts obey their grammars: on a small model whose tokens are the printable characters.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "support/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use std::collections::BTreeSet;

use candle_core::quantized::GgmlDType;
use engine::backend::{Backend, Pace, Step};
use engine::grammar::Grammar;
use engine::message::{FailureKind, Load, Sampling, SequenceId, Submission, TokenId};
use serde_json::{Map, Value, json};
use talkied_candle::Candle;
use tempfile::TempDir;

use crate::checkpoint::Checkpoint;

/// Token 0 is a space, 94 is `~`.
const END: TokenId = 95;

fn token(character: char) -> TokenId {
    u32::from(character) - 0x20
}

fn text(tokens: &[TokenId]) -> String {
    tokens.iter().filter_map(|token| char::from_u32(token + 0x20)).collect()
}

fn with_tokenizer(folder: TempDir) -> TempDir {
    let vocab: Map<String, Value> = (0..END).map(|token| (text(&[token]), json!(token))).collect();
    let added = json!([{ "id": END, "content": "<end>", "special": true }]);
    let tokenizer = json!({ "model": { "vocab": vocab }, "decoder": { "type": "Fuse" }, "added_tokens": added });
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn loaded() -> Candle {
    let folder = with_tokenizer(Checkpoint::new("llama").safetensors());
    let mut candle = Candle::new();
    candle.load(&Load { prefix_bytes: 256 << 20, ..Load::new(folder.path()) }, &mut |_, _| {}).unwrap();
    // The tokenizer is read at the first grammar.
    candle.begin(&submission(&regex("a"), 0)).unwrap();
    candle
}

fn regex(pattern: &str) -> Grammar {
    Grammar::Regex(pattern.into())
}

fn submission(grammar: &Grammar, seed: u64) -> Submission {
    let sampling = Sampling { temperature: 1.0, seed, ..Sampling::greedy() };
    let (grammar, stop_tokens) = (Some(grammar.clone()), vec![END]);
    Submission { sampling, grammar, stop_tokens, ..Submission::greedy(SequenceId(1), &[1, 2, 3], 200) }
}

/// The text of a submission, and whether it ended by itself.
fn answer(candle: &mut Candle, submission: &Submission) -> (String, bool) {
    let mut sequence = candle.begin(submission).unwrap();
    let mut tokens = Vec::new();
    while tokens.len() < submission.max_tokens as usize {
        match candle.step(&mut sequence, Pace::Alone).unwrap() {
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

#[test]
fn every_text_obeys_at_any_temperature() {
    let mut candle = loaded();
    let grammar = regex("(yes|no|maybe [0-9]{2,4})!");
    let mut seen = BTreeSet::new();
    for seed in 0..12 {
        let (text, ended) = answer(&mut candle, &submission(&grammar, seed));
        assert!(ended && (["yes!", "no!"].contains(&text.as_str()) || text.starts_with("maybe ")), "{text}");
        seen.insert(text);
    }
    assert!(seen.len() > 2, "a grammar leaves the choice to the draw: {seen:?}");
    let cold = Submission { sampling: Sampling::greedy(), ..submission(&grammar, 0) };
    assert!(answer(&mut candle, &cold).0.ends_with('!'));
    assert_eq!(answer(&mut candle, &submission(&regex("(ab){1000}"), 1)), ("ab".repeat(100), false));
}

#[test]
fn json_is_what_its_schema_allows() {
    let mut candle = loaded();
    let schema = r#"{"type":"object","properties":{"mood":{"enum":["glad","sad"]},"level":{"type":"integer","minimum":1,
        "maximum":9}},"required":["mood","level"],"additionalProperties":false}"#;
    let mut whole = 0;
    for seed in 0..6 {
        let (text, ended) = answer(&mut candle, &submission(&Grammar::JsonSchema(schema.into()), seed));
        // Spaces between the parts are free, and may take all tokens there are.
        if ended {
            whole += 1;
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(["glad", "sad"].contains(&value["mood"].as_str().unwrap()), "{text}");
            assert!((1..=9).contains(&value["level"].as_u64().unwrap()), "{text}");
            assert_eq!(value.as_object().unwrap().len(), 2, "{text}");
        } else {
            assert!(text.starts_with('{'), "{text}");
        }
    }
    assert!(whole > 0, "some text comes to its end");
}

#[test]
fn the_likeliest_allowed_token_is_taken_whatever_else_is_likelier() {
    let mut candle = loaded();
    let logits = candle.logits(&[1, 2, 3]).unwrap();
    let allowed = ['x', 'Q', '7', '(', 'm'];
    let likeliest =
        allowed.into_iter().max_by(|a, b| logits[token(*a) as usize].total_cmp(&logits[token(*b) as usize]));
    let greedy = Submission { sampling: Sampling::greedy(), ..submission(&regex("[xQ7(m]"), 0) };
    assert_eq!(answer(&mut candle, &greedy), (likeliest.unwrap().to_string(), true));
    // Filters look at the tokens that are left.
    let filtered = Sampling { temperature: 1.0, top_p: 0.01, top_k: 90, min_p: 0.1, ..Sampling::greedy() };
    let bias = vec![(token('z'), 1000.0)];
    let filtered = Sampling { logit_bias: bias, presence_penalty: 2.0, repetition_penalty: 1.5, ..filtered };
    assert_eq!(
        answer(&mut candle, &Submission { sampling: filtered, ..greedy }),
        (likeliest.unwrap().to_string(), true)
    );
}

#[test]
fn a_fork_obeys_from_the_start_of_its_own_text() {
    let mut candle = loaded();
    let submission = submission(&regex("(0|1){4}"), 3);
    let mut first = candle.begin(&submission).unwrap();
    assert_eq!(candle.step(&mut first, Pace::Alone).unwrap(), Step::Prefill { done: 2 });
    let mut second = candle.fork(&first, &submission).unwrap();
    let mut texts = [Vec::new(), Vec::new()];
    for _ in 0..4 {
        for (sequence, tokens) in [&mut first, &mut second].into_iter().zip(&mut texts) {
            match candle.step(sequence, Pace::Alone).unwrap() {
                Step::Token(token) | Step::Last(token) => tokens.push(token),
                Step::Prefill { .. } => panic!("the prompt is done"),
            }
        }
    }
    assert_eq!(texts[0], texts[1]);
    assert!(text(&texts[0]).chars().all(|character| "01".contains(character)));
}

/// A grammar begins with the answer, however much of the prompt was computed before.
#[test]
fn a_reused_prompt_is_answered_as_its_grammar_says() {
    let mut candle = loaded();
    let prompt: Vec<TokenId> = (0..60).map(|i| i * 7 % END).collect();
    let over = |grammar, seed| Submission { prompt: prompt.clone(), ..submission(&regex(grammar), seed) };
    let first = answer(&mut candle, &over("[a-z]{40}!", 2));
    let mut again = candle.begin(&over("[a-z]{40}!", 2)).unwrap();
    assert_eq!(candle.step(&mut again, Pace::Alone).unwrap(), Step::Prefill { done: 59 });
    drop(again);
    assert_eq!(answer(&mut candle, &over("[a-z]{40}!", 2)), first);
    let (digits, ended) = answer(&mut candle, &over("[0-9]{5}", 2));
    assert!(ended && digits.len() == 5 && digits.chars().all(|digit| digit.is_ascii_digit()), "{digits}");
}

#[test]
fn faults_are_told_apart() {
    let mut candle = loaded();
    let failure = candle.begin(&submission(&regex("[a&&b]"), 1)).map(drop).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidGrammar);
    let mut sequence = candle.begin(&submission(&regex("aä"), 1)).unwrap();
    let failure = loop {
        match candle.step(&mut sequence, Pace::Alone) {
            Ok(step) => assert!(matches!(step, Step::Prefill { .. } | Step::Token(_))),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.kind, FailureKind::InvalidGrammar);
    assert!(failure.message.contains("cannot be followed further"), "{failure}");
    // Without a tokenizer a model still answers freely; with a GGUF file alone there is none, unless one lies beside it.
    let folder = Checkpoint::new("llama").gguf(GgmlDType::Q8_0);
    let path = folder.path().join("model.gguf");
    candle.load(&Load::new(path.clone()), &mut |_, _| {}).unwrap();
    let failure = candle.begin(&submission(&Grammar::JsonObject, 1)).map(drop).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ModelBroken);
    assert!(failure.message.contains("tokenizer.json"), "{failure}");
    assert_eq!(candle.tokens(&Submission::greedy(SequenceId(1), &[1], 3)).unwrap().len(), 3);
    let _folder = with_tokenizer(folder);
    assert_eq!(answer(&mut candle, &submission(&regex("ok"), 1)), ("ok".into(), true));
}
