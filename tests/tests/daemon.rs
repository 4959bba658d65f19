//! The daemon's own life: start, status, end.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Start, program, until};

#[test]
fn a_ping_tells_versions_and_process() {
    let daemon = Start::fake().run();
    let pong = daemon.call("daemon.ping", json!({})).unwrap();
    assert_eq!(pong, json!({ "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "pid": daemon.pid() }));
}

#[test]
fn socket_and_folder_are_for_this_user_alone() {
    let daemon = Start::fake().run();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.socket()), 0o600);
    assert_eq!(mode(daemon.socket().parent().unwrap()), 0o700);
}

#[test]
fn a_second_daemon_is_refused_with_the_first_ones_pid() {
    let daemon = Start::fake().run();
    let (code, words) = Start::fake().args(&["--socket", daemon.socket().to_str().unwrap()]).fail();
    assert_eq!(code, 1);
    assert!(words.contains(&daemon.pid().to_string()), "{words}");
    assert!(daemon.call("daemon.ping", json!({})).is_ok());
}

#[test]
fn a_socket_path_that_is_too_long_is_explained() {
    let path = format!("/tmp/{}/t.sock", "x".repeat(120));
    let (code, words) = Start::fake().args(&["--socket", &path]).fail();
    assert_eq!(code, 1);
    assert!(words.contains("TALKIE_SOCKET") && words.contains("10"), "{words}");
}

#[test]
fn shutdown_ends_it_in_order_and_leaves_no_socket() {
    let mut daemon = Start::fake().model("test/echo", |_| {}).run();
    daemon.call("generate.text", json!({ "prompt": "warm" })).unwrap();
    daemon.call("daemon.shutdown", json!({})).unwrap();
    assert_eq!(daemon.wait(), Some(0));
    assert!(!daemon.socket().exists());
}

#[test]
fn a_running_answer_is_finished_before_the_end_and_new_requests_are_refused() {
    let slow = json!({ "token_ms": 2, "repeat": 20 });
    let mut daemon = Start::fake().model("test/slow", |files| files.config["fake"] = slow).run();
    let mut connection = daemon.connect();
    let mut other = daemon.connect();
    other.call("daemon.ping", json!({})).unwrap();
    connection.stream(json!({ "prompt": "to the end ", "options": { "max_tokens": 200 } }));
    connection.events_until("text");
    daemon.signal(Signal::TERM);
    assert_eq!(connection.events_until("finished").last().unwrap()["finish_reason"], "length");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let slow = json!({ "token_ms": 5, "repeat": 500 });
    let mut daemon =
        Start::fake().args(&["--drain", "3600"]).model("test/slow", |files| files.config["fake"] = slow).run();
    let mut connection = daemon.connect();
    connection.stream(json!({ "prompt": "endless ", "options": { "max_tokens": 4000 } }));
    connection.events_until("text");
    daemon.signal(Signal::TERM);
    until("the first signal is taken", || std::os::unix::net::UnixStream::connect(daemon.socket()).is_err());
    daemon.signal(Signal::TERM);
    assert_ne!(daemon.wait(), Some(0));
}

#[test]
fn an_unknown_argument_is_a_usage_error() {
    let output = std::process::Command::new(program("talkied")).arg("--colour").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn discover_describes_every_method_it_has() {
    let daemon = Start::fake().run();
    let document = daemon.call("rpc.discover", json!({})).unwrap();
    assert_eq!(document["openrpc"], "1.3.2");
    for method in document["methods"].as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        if name == "daemon.shutdown" {
            continue;
        }
        let answer = daemon.call(name, json!({}));
        assert_ne!(answer.as_ref().err().map(|error| error["code"].clone()), Some(json!(-32601)), "{name}");
    }
}
