//! Output that obeys: whatever a model would say, what it says validates. Random weights say anything, so they try what a
//! grammar lets through better than a model that was taught JSON.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;
#[path = "../support/engine.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod program;
mod vocabulary;

use engine::message::{Command, Event, FinishReason, Load, Sampling, SequenceId, Submission};
use engine::{Grammar, TokenId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::program::Engine;
// For the symbol that mlx-rs needs to be linked.
use talkied_mlx as _;

/// Answers that must have come to their end.
const COMPLETE: usize = 200;

/// Answers of each schema at most, and tokens of each.
const TRIES: u64 = 16;
const MAX_TOKENS: u32 = 400;

#[derive(Deserialize)]
struct Case {
    name: String,
    schema: Value,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("schemas.json")).unwrap()
}

fn submission(grammar: Grammar, seed: u64) -> Submission {
    let sampling = Sampling { temperature: 1.0, seed, ..Sampling::greedy() };
    let stop_tokens = vec![vocabulary::END];
    let prompt = [seed as TokenId % 256, 1, 2];
    Submission {
        sampling,
        stop_tokens,
        grammar: Some(grammar),
        ..Submission::greedy(SequenceId(seed), &prompt, MAX_TOKENS)
    }
}

fn loaded() -> Engine {
    let folder = vocabulary::model();
    let mut engine = Engine::start(env!("CARGO_BIN_EXE_talkied-mlx"));
    engine.send(&Command::Load(Load::new(folder.path().to_owned())));
    engine.send(&Command::Proceed);
    assert!(matches!(engine.result(), Event::Ready(_)));
    // The tokenizer is read at the first grammar, which must find its folder.
    engine.send(&Command::generate(submission(Grammar::Regex("ok".into()), 0)));
    assert_eq!(vocabulary::text(&engine.tokens().0), "ok");
    engine
}

/// Validates an answer that came to its end, and says what is wrong with it. As JSON Schema has it, `format` is a hint:
/// a grammar gives a date its shape, but knows no calendar.
fn problem(case: &Case, text: &str) -> Option<String> {
    let validator = jsonschema::validator_for(&case.schema).unwrap();
    match serde_json::from_str(text) {
        Ok(value) => validator.validate(&value).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_answer_that_comes_to_its_end_validates() {
    let mut engine = loaded();
    let (mut complete, mut cut) = (0, 0);
    let mut completed: Vec<usize> = vec![0; cases().len()];
    for seed in 1..=TRIES {
        for (case, completed) in cases().iter().zip(&mut completed) {
            engine.send(&Command::generate(submission(Grammar::JsonSchema(case.schema.to_string()), seed)));
            let (tokens, reason) = engine.tokens();
            if reason == FinishReason::Length {
                assert_eq!(tokens.len(), MAX_TOKENS as usize);
                cut += 1;
                continue;
            }
            assert_eq!(reason, FinishReason::Stop);
            let text = vocabulary::text(&tokens);
            assert_eq!(problem(case, &text), None, "{} with seed {seed}: {text}", case.name);
            (complete, *completed) = (complete + 1, *completed + 1);
        }
        if complete >= COMPLETE && completed.iter().all(|count| *count > 0) {
            eprintln!("{complete} answers to {} schemas validate, {cut} more were cut", completed.len());
            return;
        }
    }
    let starved: Vec<_> = cases().into_iter().zip(completed).filter(|(_, count)| *count == 0).collect();
    let starved: Vec<String> = starved.into_iter().map(|(case, _)| case.name).collect();
    panic!("only {complete} of {COMPLETE} answers came to their end, none to {starved:?}");
}

#[test]
fn any_object_is_an_object_and_a_pattern_is_matched() {
    let mut engine = loaded();
    let mut complete = 0;
    for seed in 0..40 {
        engine.send(&Command::generate(submission(Grammar::JsonObject, seed)));
        let (tokens, reason) = engine.tokens();
        if reason == FinishReason::Stop {
            // Not a Value, which holds no number as large as 1e999.
            let text = vocabulary::text(&tokens);
            assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok() && text.starts_with('{'), "{text}");
            complete += 1;
        }
        engine.send(&Command::generate(submission(Grammar::Regex("(ab|<[0-9]{2}>){3}é?!".into()), seed)));
        let (tokens, reason) = engine.tokens();
        let text = vocabulary::text(&tokens);
        let rest = text.replace("ab", ".").replace(|digit: char| digit.is_ascii_digit(), "0").replace("<00>", ".");
        assert!(["...!", "...é!"].contains(&rest.as_str()) && reason == FinishReason::Stop, "{text}");
    }
    assert!(complete > 5, "{complete} objects came to their end");
}
