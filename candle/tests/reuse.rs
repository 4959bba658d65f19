//! A prompt that begins like one computed lately goes on from there, and nothing that comes of it is another.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "support/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use candle_core::quantized::GgmlDType;
use engine::backend::{Backend, Pace, Step};
use engine::message::{FailureKind, Load, Sampling, SequenceId, Speculation, Submission, TokenId};
use serde_json::json;
use talkied_candle::{Candle, Sequence};
use tempfile::TempDir;

use crate::checkpoint::{Checkpoint, VOCABULARY};

/// Largest difference of a log-probability: a token alone adds the same numbers up in another order than one among others.
const TOLERANCE: f32 = 1e-4;

/// What came of a submission.
struct Answer {
    tokens: Vec<TokenId>,
    /// Of each token, those of the whole vocabulary, by its numbers.
    logprobs: Vec<Vec<f32>>,
    /// Prompt tokens that were computed after each of the first steps.
    done: Vec<u32>,
}

impl Answer {
    fn of(candle: &mut Candle, submission: &Submission) -> Self {
        let mut sequence = candle.begin(submission).unwrap();
        Self::after(candle, &mut sequence, submission)
    }

    fn after(candle: &mut Candle, sequence: &mut Sequence, submission: &Submission) -> Self {
        let mut answer = Self { tokens: Vec::new(), logprobs: Vec::new(), done: Vec::new() };
        while answer.tokens.len() < submission.max_tokens as usize {
            match candle.step(sequence, Pace::Alone).unwrap() {
                Step::Prefill { done } => answer.done.push(done),
                Step::Token(token) | Step::Last(token) => {
                    answer.tokens.push(token);
                    let mut all = candle.logprobs(sequence).unwrap().unwrap().top;
                    all.sort_by_key(|(token, _)| *token);
                    answer.logprobs.push(all.into_iter().map(|(_, logprob)| logprob).collect());
                }
            }
        }
        answer
    }

    #[track_caller]
    fn check(&self, expected: &Self) {
        assert_eq!(self.tokens, expected.tokens);
        for (ours, theirs) in self.logprobs.iter().flatten().zip(expected.logprobs.iter().flatten()) {
            assert!((ours - theirs).abs() < TOLERANCE, "{ours} is not {theirs}");
        }
    }
}

fn load(folder: &TempDir) -> Candle {
    let mut candle = Candle::new();
    candle.load(&Load { prefix_bytes: 256 << 20, ..Load::new(folder.path()) }, &mut |_, _| {}).unwrap();
    candle
}

fn prompt(len: u32) -> Vec<TokenId> {
    (0..len).map(|i| i * i % 89).collect()
}

fn submission(prompt: &[TokenId]) -> Submission {
    Submission { logprobs: Some(VOCABULARY as u32), ..Submission::greedy(SequenceId(1), prompt, 12) }
}

/// A conversation: each prompt is the one before with its answer and more; then one from its middle, and one again.
#[track_caller]
fn check(folder: &TempDir) {
    let mut candle = load(folder);
    let anew = |prompt: &[TokenId]| Answer::of(&mut load(folder), &submission(prompt));
    let mut text = prompt(600);
    let first = Answer::of(&mut candle, &submission(&text));
    assert_eq!(first.done, [512, 599]);
    first.check(&anew(&text));

    // The last token of an answer was never computed.
    text.extend(first.tokens);
    text.extend(prompt(40));
    let second = Answer::of(&mut candle, &submission(&text));
    assert_eq!(second.done, [611, 651]);
    second.check(&anew(&text));

    let branch = [&text[..300], &prompt(30)].concat();
    let third = Answer::of(&mut candle, &submission(&branch));
    assert_eq!(third.done, [300, 329]);
    third.check(&anew(&branch));

    let again = Answer::of(&mut candle, &submission(&text));
    assert_eq!(again.done, [651]);
    assert_eq!((again.tokens, again.logprobs), (second.tokens, second.logprobs), "bit by bit");
    let again = Answer::of(&mut candle, &submission(&branch));
    assert_eq!(again.done, [329]);
    again.check(&third);
}

#[test]
fn a_conversation_goes_on_from_what_it_was() {
    check(&Checkpoint::new("llama").safetensors());
}

/// Keys and values behind a window are kept, and so a cut one sees what it saw.
#[test]
fn windows_see_the_same() {
    let mut checkpoint = Checkpoint::new("mistral");
    checkpoint.config["sliding_window"] = json!(40);
    check(&checkpoint.safetensors());
}

#[test]
fn packed_models_go_on_too() {
    let folder = Checkpoint::new("qwen3").gguf(GgmlDType::Q8_0);
    let mut candle = load(&folder);
    let text = prompt(100);
    let first = Answer::of(&mut candle, &submission(&text));
    let second = Answer::of(&mut candle, &submission(&text));
    assert_eq!((first.done.as_slice(), second.done.as_slice()), (&[99][..], &[99][..]));
    assert_eq!((second.tokens, second.logprobs), (first.tokens, first.logprobs));
}

#[test]
fn what_is_too_short_or_belongs_to_another_model_is_computed_anew() {
    let folder = Checkpoint::new("llama").safetensors();
    let mut candle = load(&folder);
    let text = prompt(100);
    let expected = Answer::of(&mut candle, &submission(&text));
    let other: Vec<TokenId> = text[..20].iter().copied().chain(prompt(100)).collect();
    assert_eq!(Answer::of(&mut candle, &submission(&other)).done, [119]);

    let idle = load(&folder).memory().active_bytes;
    assert!(candle.memory().active_bytes > idle, "what is kept is counted");
    // A sequence of the old model that ends with the new one is not kept.
    let late = candle.begin(&submission(&text)).unwrap();
    candle.load(&Load { prefix_bytes: 256 << 20, ..Load::new(folder.path()) }, &mut |_, _| {}).unwrap();
    drop(late);
    assert_eq!(candle.memory().active_bytes, idle);
    let anew = Answer::of(&mut candle, &submission(&text));
    assert_eq!(anew.done, [99]);
    anew.check(&expected);
}

/// What is reused is computed in no step: the first of those says how much it is.
#[test]
fn a_cancelled_prompt_goes_on_where_it_ended() {
    let folder = Checkpoint::new("llama").safetensors();
    let mut candle = load(&folder);
    let text = prompt(1000);
    let mut cancelled = candle.begin(&submission(&text)).unwrap();
    assert_eq!(candle.step(&mut cancelled, Pace::Alone).unwrap(), Step::Prefill { done: 512 });
    drop(cancelled);
    let whole = Answer::of(&mut candle, &submission(&text));
    assert_eq!(whole.done, [512, 999]);
    whole.check(&Answer::of(&mut load(&folder), &submission(&text)));
}

#[test]
fn forks_of_a_reused_prompt_go_their_own_ways() {
    let folder = Checkpoint::new("llama").safetensors();
    let mut candle = load(&folder);
    let drawn = |seed| {
        let sampling = Sampling { temperature: 1.5, seed, ..Sampling::greedy() };
        Submission { sampling, ..submission(&prompt(200)) }
    };
    let expected = [3, 4].map(|seed| Answer::of(&mut load(&folder), &drawn(seed)));
    assert_ne!(expected[0].tokens, expected[1].tokens);
    drop(Answer::of(&mut candle, &submission(&prompt(200))));
    let mut first = candle.begin(&drawn(3)).unwrap();
    assert_eq!(candle.step(&mut first, Pace::Alone).unwrap(), Step::Prefill { done: 199 });
    let mut second = candle.fork(&first, &drawn(4)).unwrap();
    Answer::after(&mut candle, &mut first, &drawn(3)).check(&expected[0]);
    drop(first);
    Answer::after(&mut candle, &mut second, &drawn(4)).check(&expected[1]);
}

#[test]
fn guesses_are_refused_by_name_and_left_out_by_themselves() {
    let mut candle = load(&Checkpoint::new("llama").safetensors());
    let mut begun = |speculation| candle.begin(&Submission { speculation, ..submission(&[1, 2]) }).map(|_| ());
    assert_eq!(begun(Speculation::Auto), Ok(()));
    for asked in [Speculation::Lookup, Speculation::Draft] {
        let failure = begun(asked).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotSupported);
        assert!(failure.message.contains("leave speculation at auto"), "{failure}");
    }
}

#[test]
fn a_draft_is_left_out_and_that_is_told() {
    let folder = Checkpoint::new("llama").safetensors();
    let load = Load { draft: Some(folder.path().to_owned()), ..Load::new(folder.path()) };
    let mut candle = Candle::new();
    let alone = candle.needs(&Load::new(folder.path())).unwrap();
    assert_eq!(candle.needs(&load).unwrap(), alone, "it takes nothing");
    let loaded = candle.load(&load, &mut |_, _| {}).unwrap();
    assert!(loaded.draft_refused.unwrap().contains("guesses no tokens"));
}
