//! What is left behind when something breaks, and what is not.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Start, signal_process, until};

/// The reports of a home, the oldest first.
pub fn reports(daemon: &Daemon) -> Vec<String> {
    let Ok(entries) = fs::read_dir(daemon.home.path().join("crashes")) else { return Vec::new() };
    // A report has another name until it is whole.
    let mut paths: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some()).collect();
    paths.retain(|path| path.extension().unwrap() == "txt");
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn is_marked(daemon: &Daemon) -> bool {
    daemon.home.path().join("run/talkied.run").exists()
}

fn secret() -> Value {
    json!({ "prompt": "a prompt that is nobody's business " })
}

#[test]
fn a_daemon_that_was_killed_is_reported_by_the_next() {
    let mut daemon = Start::fake().model("test/echo", |_| {}).run();
    daemon.call("generate.text", secret()).unwrap();
    let pid = daemon.pid();
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(is_marked(&daemon));
    let daemon = daemon.again();
    let all = reports(&daemon);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains(&format!("process {pid}")) && all[0].contains("without a word"), "{}", all[0]);
    assert!(all[0].contains("listening"), "the end of its log: {}", all[0]);
    assert!(!all[0].contains("nobody's business"), "{}", all[0]);
}

#[test]
fn ends_that_were_asked_for_leave_no_report() {
    let mut daemon = Start::fake().run();
    for round in 0..3 {
        assert!(is_marked(&daemon), "{round}");
        match round {
            0 => drop(daemon.call("daemon.shutdown", json!({})).unwrap()),
            1 => daemon.signal(Signal::TERM),
            _ => daemon.signal(Signal::INT),
        }
        assert_eq!(daemon.wait(), Some(0));
        assert!(!is_marked(&daemon), "{round}");
        daemon = daemon.again();
    }
    assert_eq!(reports(&daemon), [] as [&str; 0]);
}

#[test]
fn an_end_by_two_signals_leaves_no_report() {
    let slow = json!({ "token_ms": 5, "repeat": 500 });
    let mut daemon =
        Start::fake().args(&["--drain", "3600"]).model("test/slow", |files| files.config["fake"] = slow).run();
    let mut connection = daemon.connect();
    connection.stream(json!({ "prompt": "endless ", "options": { "max_tokens": 4000 } }));
    connection.events_until("text");
    daemon.signal(Signal::TERM);
    let marker = daemon.home.path().join("run/talkied.run");
    until("it is noted", || fs::read_to_string(&marker).is_ok_and(|text| text.contains("\"is_ending\":true")));
    daemon.signal(Signal::TERM);
    daemon.wait();
    assert_eq!(reports(&daemon.again()), [] as [&str; 0]);
}

#[test]
fn an_engine_that_a_signal_ends_leaves_a_report_and_one_that_is_asked_to_end_does_not() {
    let daemon = Start::fake()
        .model("test/aborts", |files| files.config["fake"] = json!({ "abort_after": 2 }))
        .model("test/echo", |_| {})
        .run();
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    daemon.call("models.unload", json!({ "model": "test/echo" })).unwrap();
    daemon.call("generate.text", json!({ "model": "test/aborts", "prompt": "not for others" })).unwrap_err();
    until("it is reported", || !reports(&daemon).is_empty());
    let all = reports(&daemon);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("what: an engine, fake-engine, was ended by signal 6"), "{}", all[0]);
    assert!(!all[0].contains("not for others"), "{}", all[0]);
}

#[test]
fn an_engine_that_dies_again_and_again_is_reported_once() {
    let daemon = Start::fake().model("test/dies", |files| files.config["fake"] = json!({ "abort_load": true })).run();
    for _ in 0..3 {
        daemon.call("generate.text", json!({ "prompt": "a" })).unwrap_err();
    }
    until("it is reported", || !reports(&daemon).is_empty());
    assert_eq!(reports(&daemon).len(), 1);
}

#[test]
fn a_killed_engine_is_reported_too() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    let status = daemon.call("daemon.status", json!({})).unwrap();
    signal_process(status["residents"][0]["residency"]["pid"].as_u64().unwrap() as u32, Signal::KILL);
    until("it is reported", || reports(&daemon).iter().any(|text| text.contains("signal 9")));
}
