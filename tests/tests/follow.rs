//! `talkiectl events`, against a real daemon.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::{run, stderr, stdout};
use crate::support::{Daemon, Start, signal_process};

/// A program that follows.
struct Follower {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

/// Follows, and is known to: something that has happened was told.
fn following(daemon: &Daemon, args: &[&str]) -> Follower {
    let mut command = daemon.talkiectl(&[&["events", "--follow"], args].concat());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let followers = || daemon.call("daemon.status", json!({})).unwrap()["connections"].as_u64().unwrap();
    crate::support::until("it has connected", || followers() > 1);
    Follower { child, stdout, stderr }
}

impl Follower {
    /// The next line that has a text in it.
    fn tells(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "{text} is told");
            if line.contains(text) {
                return line;
            }
        }
    }

    fn notes(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    fn interrupted(mut self) -> (Option<i32>, String) {
        signal_process(self.child.id(), Signal::INT);
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

#[test]
fn what_is_there_is_told_once() {
    let daemon = Start::fake().model("test/echo", |_| {}).model("test/cut", |files| files.weights.truncate(9)).run();
    let output = run(&daemon, &["events"], "");
    let lines: Vec<String> = stdout(&output).lines().map(|line| line[8..].to_owned()).collect();
    assert!(lines.iter().any(|line| line.starts_with("  test/echo  on disk, ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("  test/cut  ") && line.contains(": ")), "{lines:?}");
    assert_eq!((stderr(&output).as_str(), output.status.code()), ("", Some(0)));
    let event: Value = serde_json::from_str(&stdout(&run(&daemon, &["events", "--json"], ""))).unwrap();
    assert_eq!(event["type"], "current");
}

#[test]
fn what_happens_is_told_as_it_happens_and_ctrl_c_is_no_failure() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let mut follower = following(&daemon, &[]);
    assert_eq!(run(&daemon, &["load", "test/echo"], "").status.code(), Some(0));
    let first = follower.tells("test/echo");
    assert!(first.contains("loading"), "what is there is not told again: {first}");
    follower.tells("is warm");
    run(&daemon, &["unload", "test/echo"], "");
    follower.tells("is out of memory, as was asked");
    assert_eq!(follower.interrupted(), (Some(0), String::new()));
}

#[test]
fn a_daemon_that_comes_back_is_followed_again() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let mut follower = following(&daemon, &["--json"]);
    run(&daemon, &["stop"], "");
    assert_eq!(follower.notes(), "note: talkied has ended; waiting for it to come back\n");
    let daemon = daemon.again();
    assert_eq!(follower.notes(), "note: talkied is back\n");
    run(&daemon, &["load", "test/echo"], "");
    let line = follower.tells("\"loaded\"");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["model"], "test/echo");
    assert_eq!(follower.interrupted().0, Some(0));
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let mut follower = following(&daemon, &[]);
    run(&daemon, &["load", "test/echo"], "");
    follower.tells("loading");
    let Follower { mut child, stdout, mut stderr } = follower;
    drop(stdout);
    run(&daemon, &["unload", "test/echo"], "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}
