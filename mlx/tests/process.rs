//! The program as the daemon runs it: its standard input is one end of a pair of sockets.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Program, Stdio};

use engine::frame;
use engine::message::{
    Command, Event, FailureKind, FinishReason, Load, Sampling, SequenceId, Submission, TokenId, VERSION, Work,
};

use crate::checkpoint::Checkpoint;
// For the symbol that mlx-rs needs to be linked.
use talkied_mlx as _;

struct Engine {
    socket: UnixStream,
    child: Child,
}

impl Engine {
    fn start() -> Self {
        let (socket, other) = UnixStream::pair().unwrap();
        let program = env!("CARGO_BIN_EXE_talkied-mlx");
        let child = Program::new(program).stdin(Stdio::from(OwnedFd::from(other))).spawn().unwrap();
        let mut engine = Self { socket, child };
        assert_eq!(engine.next(), Event::Hello { version: VERSION });
        engine
    }

    fn send(&mut self, command: &Command) {
        frame::write(&mut self.socket, command).unwrap();
    }

    fn next(&mut self) -> Event {
        frame::read(&mut self.socket).unwrap().expect("the engine still speaks")
    }

    /// Skips what tells of progress.
    fn result(&mut self) -> Event {
        loop {
            match self.next() {
                Event::Loading { .. } | Event::Prefill { .. } | Event::Memory(_) => {}
                event => return event,
            }
        }
    }

    fn end(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

fn submission(sequence: u64, prompt: &[TokenId], max_tokens: u32) -> Command {
    let sampling = Sampling { temperature: 0.7, top_p: 0.9, repetition_penalty: 1.1, seed: 11, ..Sampling::greedy() };
    let submission = Submission { sampling, ..Submission::greedy(SequenceId(sequence), prompt, max_tokens) };
    Command::Submit(Work::Generate(submission))
}

fn tokens(engine: &mut Engine) -> (Vec<TokenId>, FinishReason) {
    let mut tokens = Vec::new();
    loop {
        match engine.result() {
            Event::Token { id, .. } => tokens.push(id),
            Event::Finished(finished) => return (tokens, finished.reason),
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn a_model_is_loaded_run_cancelled_and_unloaded() {
    let folder = Checkpoint::llama().quantized(4).write();
    let mut engine = Engine::start();
    engine.send(&Command::Load(Load { path: folder.path().to_owned() }));
    let Event::Ready(loaded) = engine.result() else { panic!("the model is not ready") };
    assert_eq!(loaded.vocab_size, 96);

    engine.send(&submission(1, &[1, 2, 3], 12));
    engine.send(&submission(2, &[1, 2, 3], 12));
    let first = tokens(&mut engine);
    assert_eq!((first.0.len(), first.1), (12, FinishReason::Length));
    assert_eq!(tokens(&mut engine), first, "the same seed");

    engine.send(&submission(3, &[1], 900));
    assert!(matches!(engine.result(), Event::Token { .. }));
    engine.send(&Command::Cancel(SequenceId(3)));
    assert_eq!(tokens(&mut engine).1, FinishReason::Cancelled);

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
    let mut engine = Engine::start();
    engine.send(&Command::Load(Load { path: folder.path().to_owned() }));
    let Event::LoadFailed(failure) = engine.result() else { panic!("the load did not fail") };
    assert_eq!(failure.kind, FailureKind::ModelBroken);
    assert!(failure.message.contains("lm_head.weight"), "{failure}");
    engine.end();
}

#[test]
fn an_engine_without_a_daemon_ends() {
    let engine = Engine::start();
    engine.socket.shutdown(std::net::Shutdown::Both).unwrap();
    engine.end();
}
