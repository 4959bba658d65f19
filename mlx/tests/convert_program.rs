//! The program's `convert`: its lines on standard output, its exit code, and what ends it.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use engine::convert::{Failed, FailedKind, Progress, Report};
use mlx_rs::Array;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::checkpoint::Checkpoint;
// For the symbol that mlx-rs needs to be linked.
use talkied_mlx as _;

fn start(from: &Path, to: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_talkied-mlx"));
    program.arg("convert").arg("--from").arg(from).arg("--to").arg(to).args(["--bits", "4", "--group-size", "32"]);
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn report(line: &str) -> Report {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn it_tells_how_far_it_is() {
    let (source, out) = (Checkpoint::llama().write(), TempDir::new().unwrap());
    let (mut child, stdout) = start(source.path(), &out.path().join("x"));
    let lines: Vec<String> = stdout.lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    let Report::Progress(Progress { done_bytes: 0, total_bytes }) = report(&lines[0]) else { panic!("{lines:?}") };
    let last = lines.last().unwrap();
    assert_eq!(*last, format!("{{\"done_bytes\":{total_bytes},\"total_bytes\":{total_bytes}}}"));
    assert!(out.path().join("x/config.json").is_file());
}

#[test]
fn it_says_why_it_fails() {
    let out = TempDir::new().unwrap();
    let (mut child, stdout) = start(&out.path().join("absent"), &out.path().join("x"));
    let lines: Vec<String> = stdout.lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let Report::Failed(Failed { kind: FailedKind::ModelBroken, message }) = report(line) else { panic!("{line}") };
    assert!(message.contains("absent/config.json"), "{message}");
}

#[test]
fn bits_that_mlx_lacks_are_refused() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_talkied-mlx"));
    let output = program.args(["convert", "--from", "a", "--to", "b", "--bits", "7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[2, 3, 4, 5, 6, 8]"));
}

#[test]
fn a_signal_cancels() {
    cancelled_by(|child| {
        let pid = Pid::from_child(child);
        kill_process(pid, Signal::TERM).unwrap();
    });
}

#[test]
fn the_end_of_who_started_it_cancels() {
    cancelled_by(|child| drop(child.stdin.take()));
}

/// The reports are more than the pipe holds, so that the program waits for this reader halfway, and what `end` does comes
/// before its last report.
fn cancelled_by(end: impl FnOnce(&mut Child)) {
    const LAYERS: usize = 400;
    let mut deep = Checkpoint::llama().with("num_hidden_layers", json!(LAYERS));
    let layer: Vec<(String, Array)> = deep
        .tensors
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("model.layers.0.")?.to_owned(), tensor.clone())))
        .collect();
    for number in 2..LAYERS {
        deep.tensors
            .extend(layer.iter().map(|(name, tensor)| (format!("model.layers.{number}.{name}"), tensor.clone())));
    }
    let (source, out) = (deep.write(), TempDir::new().unwrap());
    let (mut child, mut stdout) = start(source.path(), &out.path().join("x"));
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(matches!(report(&line), Report::Progress(Progress { done_bytes: 0, .. })), "{line}");
    end(&mut child);
    let last = stdout.lines().map(Result::unwrap).last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let Report::Failed(Failed { kind, .. }) = report(&last) else { panic!("{last}") };
    assert_eq!(kind, FailedKind::Cancelled);
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "nothing is left");
}
