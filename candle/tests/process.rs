//! The program's part of the conversation with the daemon: a load, sequences, a cancel, the end.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "support/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

#[path = "../../mlx/tests/support/engine.rs"]
mod program;

use std::path::Path;

use candle_core::quantized::GgmlDType;
use engine::message::{Command, Event, FailureKind, FinishReason, Load, Sampling, SequenceId, Submission, TokenId};

use crate::checkpoint::Checkpoint;
use crate::program::Engine;

fn start() -> Engine {
    Engine::start(env!("CARGO_BIN_EXE_talkied-candle"))
}

fn loaded(path: &Path) -> Engine {
    let mut engine = start();
    engine.send(&Command::Load(Load::new(path.to_owned())));
    engine.send(&Command::Proceed);
    let Event::Ready(loaded) = engine.result() else { panic!("the model is not ready") };
    assert_eq!(loaded.vocab_size, 96);
    engine
}

fn submission(sequence: u64, prompt: &[TokenId], max_tokens: u32) -> Command {
    let sampling = Sampling { temperature: 0.7, top_p: 0.9, repetition_penalty: 1.1, seed: 11, ..Sampling::greedy() };
    let submission = Submission { sampling, ..Submission::greedy(SequenceId(sequence), prompt, max_tokens) };
    Command::generate(submission)
}

#[test]
fn a_model_is_loaded_run_cancelled_and_unloaded() {
    let folder = Checkpoint::new("qwen2").gguf(GgmlDType::Q8_0);
    let mut engine = loaded(&folder.path().join("model.gguf"));

    engine.send(&submission(1, &[1, 2, 3], 12));
    engine.send(&submission(2, &[1, 2, 3], 12));
    let first = engine.tokens();
    assert_eq!((first.0.len(), first.1), (12, FinishReason::Length));
    assert_eq!(engine.tokens(), first, "the same seed");

    // Its tokens come one by one, and no more of them after a cancel.
    engine.send(&submission(3, &[1], 900));
    assert!(matches!(engine.result(), Event::Token { sequence: SequenceId(3), .. }));
    engine.send(&Command::Cancel(SequenceId(3)));
    let (tokens, reason) = engine.tokens();
    assert_eq!(reason, FinishReason::Cancelled);
    assert!(tokens.len() < 899);

    engine.send(&submission(4, &[1, 96], 1));
    assert!(matches!(engine.result(), Event::Failed { sequence: SequenceId(4), .. }));
    engine.send(&submission(5, &[1, 2, 3], 12));
    assert_eq!(engine.tokens(), first, "a sequence that failed leaves nothing behind");

    engine.send(&Command::Unload);
    engine.end();
}

#[test]
fn samples_share_a_prompt_and_draw_by_seeds_of_their_own() {
    let folder = Checkpoint::new("llama").safetensors();
    let mut engine = loaded(folder.path());
    let sampling = Sampling { temperature: 1.0, seed: 3, ..Sampling::greedy() };
    let alone = |seed| Sampling { seed, ..sampling.clone() };
    let prompt: Vec<TokenId> = (0..600).map(|i| i % 96).collect();
    let submission =
        Submission { samples: 2, sampling: sampling.clone(), ..Submission::greedy(SequenceId(1), &prompt, 6) };
    engine.send(&Command::generate(submission.clone()));
    let mut texts = [Vec::new(), Vec::new()];
    loop {
        match engine.result() {
            Event::Token { sample, id, .. } => texts[sample as usize].push(id),
            Event::Ended { .. } => {}
            Event::Finished(finished) => {
                assert_eq!(finished.completion_tokens, 12);
                break;
            }
            event => panic!("{event:?}"),
        }
    }
    for (seed, text) in (3..).zip(&texts) {
        let submission = Submission { samples: 1, sampling: alone(seed), ..submission.clone() };
        engine.send(&Command::generate(submission));
        assert_eq!(&engine.tokens().0, text);
    }
    engine.send(&Command::Unload);
    engine.end();
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_engine_with_its_reason() {
    let mut checkpoint = Checkpoint::new("llama");
    checkpoint.tensors.remove("lm_head.weight");
    let folder = checkpoint.safetensors();
    let mut engine = start();
    engine.send(&Command::Load(Load::new(folder.path().to_owned())));
    engine.send(&Command::Proceed);
    let Event::LoadFailed(failure) = engine.result() else { panic!("the load did not fail") };
    assert_eq!(failure.kind, FailureKind::ModelBroken);
    assert!(failure.message.contains("lm_head.weight"), "{failure}");
    engine.end();
}

#[test]
fn an_engine_without_a_daemon_ends() {
    let engine = start();
    engine.socket.shutdown(std::net::Shutdown::Both).unwrap();
    engine.end();
}
