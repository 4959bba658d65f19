//! Candle beside llama.cpp: the same file, the same tokens; and a file that llama.cpp wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use engine::backend::Backend;
use engine::message::{Load, SequenceId, Submission, TokenId};
use serde::Deserialize;
use serde_json::json;
use talkied_candle::Candle;

use crate::support::{Start, program};
use crate::{given, model};

/// Tokens of each answer.
const LENGTH: u32 = 32;

/// How far apart two logits may be that rounding turns over. Both round what a packed matrix is multiplied with to eight
/// bits, each in its own order, and both are up to 1.0 from the unrounded logits of these prompts, which span 37.
const TIE: f32 = 1.0;

#[derive(Deserialize)]
struct Greedy {
    prompt: Vec<TokenId>,
    tokens: Vec<TokenId>,
}

fn python() -> PathBuf {
    given::given_or_made("TALKIE_TEST_LLAMA_PYTHON", &["llama"])
}

/// The model's file, written anew in another type.
fn packed(kind: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{kind}.gguf"));
    let mut pack = Command::new(python());
    let output = pack.args(["-c", include_str!("pack.py")]).arg(model::gguf()).arg(&file).arg(kind).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

/// llama.cpp's likeliest tokens after five prompts.
fn expected(file: &Path) -> Vec<Greedy> {
    let output = Command::new(python()).args(["-c", include_str!("greedy.py")]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let expected: Vec<Greedy> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(expected.len(), 5);
    assert!(expected.iter().all(|greedy| greedy.tokens.len() == LENGTH as usize));
    expected
}

fn loaded(mut candle: Candle, file: PathBuf) -> Candle {
    candle.load(&Load::new(file), &mut |_, _| {}).unwrap();
    candle
}

/// Of how many prompts all tokens are the same; and where others part, how far apart the two logits are by `exact`.
fn compare(candle: &mut Candle, exact: &Candle, expected: &[Greedy]) -> (usize, Vec<f32>) {
    let mut gaps = Vec::new();
    for Greedy { prompt, tokens } in expected {
        let ours = candle.tokens(&Submission::greedy(SequenceId(0), prompt, LENGTH)).unwrap();
        if let Some(place) = ours.iter().zip(tokens).position(|(ours, theirs)| ours != theirs) {
            let logits = exact.logits(&[prompt.as_slice(), &ours[..place]].concat()).unwrap();
            let gap = logits[ours[place] as usize] - logits[tokens[place] as usize];
            eprintln!("token {place} after {prompt:?}: {} and not {}, by {gap}", ours[place], tokens[place]);
            gaps.push(gap.abs());
        }
    }
    eprintln!("{} of {} are the same", expected.len() - gaps.len(), expected.len());
    (expected.len() - gaps.len(), gaps)
}

#[test]
fn without_packing_candles_likeliest_tokens_are_llama_cpps() {
    let file = packed("ALL_F32");
    let mut candle = loaded(Candle::new(), file.clone());
    let exact = loaded(Candle::exact(), file.clone());
    let (same, _) = compare(&mut candle, &exact, &expected(&file));
    assert!(same >= 4, "{same} of 5 prompts");
}

#[test]
fn of_a_packed_file_they_are_but_for_ties() {
    let file = model::gguf();
    let mut candle = loaded(Candle::new(), file.clone());
    let exact = loaded(Candle::exact(), file.clone());
    let (_, gaps) = compare(&mut candle, &exact, &expected(&file));
    assert!(gaps.iter().all(|gap| *gap < TIE), "{gaps:?}");
}

#[test]
fn a_file_that_mlx_does_not_know_is_imported_and_run_by_candle() {
    let candle = program("talkied-candle");
    let start = Start::with_engine(Path::new(env!("CARGO_BIN_EXE_talkied-mlx")));
    let daemon = start.env("TALKIE_CANDLE", candle.to_str().unwrap()).run();
    let model = daemon.call("models.import", json!({ "path": packed("Q6_K"), "model": "test/packed" })).unwrap();
    assert_eq!((&model["backends"], &model["provider"]), (&json!(["candle"]), &json!("candle")));
    let request =
        json!({ "prompt": "What is the capital of France?", "options": { "temperature": 0, "max_tokens": 12 } });
    let answer = daemon.call("generate.text", request).unwrap();
    assert_eq!(answer["provider"], "candle");
    // Packed twice, so small a model says what it likes; what it computes is compared above and beside Candle.
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    assert!(answer["text"].as_str().unwrap().trim().len() > 8, "{answer}");
}
