//! The program's part of the conversation with the daemon: a load, sequences, a cancel, the end.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

#[path = "support/engine.rs"]
mod program;

use engine::frame;
use engine::message::{
    Command, Event, FailureKind, FinishReason, Finished, Load, Sampling, SequenceId, Speculation, Submission, TokenId,
};

use crate::checkpoint::Checkpoint;
use crate::program::Engine;
// For the symbol that mlx-rs needs to be linked.
use talkied_mlx as _;

fn submission(sequence: u64, prompt: &[TokenId], max_tokens: u32) -> Command {
    let sampling = Sampling { temperature: 0.7, top_p: 0.9, repetition_penalty: 1.1, seed: 11, ..Sampling::greedy() };
    let submission = Submission { sampling, ..Submission::greedy(SequenceId(sequence), prompt, max_tokens) };
    Command::generate(submission)
}

#[test]
fn a_model_is_loaded_run_cancelled_and_unloaded() {
    let folder = Checkpoint::llama().quantized(4).write();
    let mut engine = Engine::start(env!("CARGO_BIN_EXE_talkied-mlx"));
    engine.send(&Command::Load(Load::new(folder.path().to_owned())));
    engine.send(&Command::Proceed);
    let Event::Ready(loaded) = engine.result() else { panic!("the model is not ready") };
    assert_eq!(loaded.vocab_size, 96);

    engine.send(&submission(1, &[1, 2, 3], 12));
    engine.send(&submission(2, &[1, 2, 3], 12));
    let first = engine.tokens();
    assert_eq!((first.0.len(), first.1), (12, FinishReason::Length));
    assert_eq!(engine.tokens(), first, "the same seed");

    engine.send(&submission(3, &[1], 900));
    assert!(matches!(engine.result(), Event::Token { .. }));
    engine.send(&Command::Cancel(SequenceId(3)));
    assert_eq!(engine.tokens().1, FinishReason::Cancelled);

    engine.send(&submission(4, &[1, 96], 1));
    assert!(matches!(engine.result(), Event::Failed { sequence: SequenceId(4), .. }));

    engine.send(&Command::Unload);
    engine.end();
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_engine_with_its_reason() {
    let mut checkpoint = Checkpoint::llama();
    checkpoint.tensors.remove("lm_head.weight");
    let folder = checkpoint.write();
    let mut engine = Engine::start(env!("CARGO_BIN_EXE_talkied-mlx"));
    engine.send(&Command::Load(Load::new(folder.path().to_owned())));
    engine.send(&Command::Proceed);
    let Event::LoadFailed(failure) = engine.result() else { panic!("the load did not fail") };
    assert_eq!(failure.kind, FailureKind::ModelBroken);
    assert!(failure.message.contains("lm_head.weight"), "{failure}");
    engine.end();
}

#[test]
fn an_engine_without_a_daemon_ends() {
    let engine = Engine::start(env!("CARGO_BIN_EXE_talkied-mlx"));
    engine.socket.shutdown(std::net::Shutdown::Both).unwrap();
    engine.end();
}

/// Prompt tokens that were kept, of the sequence that runs.
fn cached(engine: &mut Engine) -> u32 {
    loop {
        match engine.result() {
            Event::Token { .. } => {}
            Event::Finished(finished) => return finished.cached_tokens,
            event => panic!("{event:?}"),
        }
    }
}

/// Bytes of kept prefixes that are told next.
fn prefix_bytes(engine: &mut Engine) -> u64 {
    loop {
        if let Event::Memory(memory) = frame::read(&mut engine.socket).unwrap().expect("the engine still speaks") {
            return memory.prefix_bytes;
        }
    }
}

#[test]
fn a_prompt_is_kept_for_the_next_until_the_engine_is_trimmed() {
    let folder = Checkpoint::llama().write();
    let mut engine = Engine::start(env!("CARGO_BIN_EXE_talkied-mlx"));
    engine.send(&Command::Load(Load { prefix_bytes: 1 << 24, ..Load::new(folder.path().to_owned()) }));
    engine.send(&Command::Proceed);
    assert!(matches!(engine.result(), Event::Ready(_)));
    assert_eq!(prefix_bytes(&mut engine), 0);
    let prompt: Vec<TokenId> = (0..200).map(|place| place * 7 % 96).collect();
    // A chunk has 64 tokens, and two layers keep keys and values of two heads of 16 numbers of each.
    let chunk = 64 * 2 * 2 * 2 * 16 * 4;
    for (sequence, kept) in [(1, 0), (2, 192)] {
        engine.send(&submission(sequence, &prompt, 3));
        assert_eq!(cached(&mut engine), kept);
        assert_eq!(prefix_bytes(&mut engine), 3 * chunk);
    }
    engine.send(&submission(3, &prompt[..150], 800));
    assert!(matches!(engine.result(), Event::Token { .. }));
    engine.send(&Command::Cancel(SequenceId(3)));
    assert_eq!(cached(&mut engine), 128);
    prefix_bytes(&mut engine);
    engine.send(&Command::Trim);
    assert_eq!(prefix_bytes(&mut engine), 0);
    engine.send(&submission(4, &prompt, 3));
    assert_eq!(cached(&mut engine), 0);
    engine.send(&Command::Unload);
    engine.end();
}

/// What is told of one sequence.
fn told(engine: &mut Engine, submission: &Submission) -> (Vec<TokenId>, Finished) {
    engine.send(&Command::generate(submission.clone()));
    let mut tokens = Vec::new();
    loop {
        match engine.result() {
            Event::Token { id, .. } => tokens.push(id),
            Event::Finished(finished) => return (tokens, finished),
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn guessed_tokens_are_told_like_others_up_to_the_end_of_their_sequence() {
    let folder = Checkpoint::llama().write();
    let mut engine = Engine::start(env!("CARGO_BIN_EXE_talkied-mlx"));
    engine.send(&Command::Load(Load::new(folder.path().to_owned())));
    engine.send(&Command::Proceed);
    assert!(matches!(engine.result(), Event::Ready(_)));
    // Of three tokens, some that follow are those that followed before.
    let sampling = Sampling { logit_bias: [10, 11, 12].map(|token| (token, 100.0)).to_vec(), ..Sampling::greedy() };
    let prompt: Vec<TokenId> = (0..60).map(|place: u32| 10 + place * place / 7 % 3).collect();
    let plain = Submission { sampling, ..Submission::greedy(SequenceId(2), &prompt, 24) };
    let guessing = |plain: &Submission| Submission { speculation: Speculation::Lookup, ..plain.clone() };
    let mut check = |plain: &Submission| {
        let (expected, without) = told(&mut engine, plain);
        let (tokens, with) = told(&mut engine, &guessing(plain));
        assert_eq!((&tokens, with.reason), (&expected, without.reason));
        assert_eq!((without.speculated_tokens, with.completion_tokens), (0, expected.len() as u32));
        (tokens, with)
    };
    let (whole, finished) = check(&plain);
    assert!(finished.speculated_tokens > 5, "{finished:?}");
    for max_tokens in 1..12 {
        let (_, finished) = check(&Submission { max_tokens, ..plain.clone() });
        assert_eq!((finished.reason, finished.completion_tokens), (FinishReason::Length, max_tokens));
    }
    for stop in &whole {
        let (tokens, finished) = check(&Submission { stop_tokens: vec![*stop], ..plain.clone() });
        let place = whole.iter().position(|token| token == stop).unwrap();
        assert_eq!((tokens.as_slice(), finished.reason), (&whole[..place], FinishReason::Stop));
    }
    let long = Submission { max_tokens: 600, ..guessing(&plain) };
    engine.send(&Command::generate(long));
    assert!(matches!(engine.result(), Event::Token { .. }));
    engine.send(&Command::Cancel(SequenceId(2)));
    let (tokens, reason) = engine.tokens();
    assert_eq!(reason, FinishReason::Cancelled);
    assert!(tokens.len() < 599 && tokens.iter().zip(&whole[1..]).all(|(a, b)| a == b));
    engine.send(&Command::Unload);
    engine.end();
}
