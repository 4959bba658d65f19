//! The program's part of the conversation with the daemon: a load, sequences, a cancel, the end.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

#[path = "support/engine.rs"]
mod program;

use engine::frame;
use engine::message::{Command, Event, FailureKind, FinishReason, Load, Sampling, SequenceId, Submission, TokenId};

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
