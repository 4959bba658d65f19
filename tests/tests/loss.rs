//! Engines that die, daemons that die.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Start, signal_process, text, until};

fn engine(daemon: &Daemon) -> u32 {
    let status = daemon.call("daemon.status", json!({})).unwrap();
    status["residents"][0]["residency"]["pid"].as_u64().expect("a resident has a process") as u32
}

fn alive(pid: u32) -> bool {
    // A zombie is dead for this purpose: nobody computes there.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn endless() -> Daemon {
    Start::fake().model("test/endless", |files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 })).run()
}

fn request() -> Value {
    json!({ "prompt": "on and on ", "options": { "max_tokens": 4000 } })
}

#[test]
fn an_engine_killed_in_mid_generation_is_engine_lost_and_the_next_request_works() {
    let daemon = endless();
    let mut connection = daemon.connect();
    connection.stream(request());
    connection.events_until("text");
    let lost = engine(&daemon);
    signal_process(lost, Signal::KILL);
    let failed = loop {
        let event = connection.event();
        if event["type"] != "text" {
            break event;
        }
    };
    assert_eq!((&failed["type"], &failed["error"]["kind"]), (&json!("failed"), &json!("engine_lost")));
    assert_eq!(failed["error"]["retry_after_ms"], 0);
    assert!(failed["error"]["message"].as_str().unwrap().contains("signal 9"), "{failed}");
    let next = daemon.call("generate.text", json!({ "prompt": "again", "options": { "max_tokens": 5 } })).unwrap();
    assert_eq!(next["text"], "again");
    assert_ne!(engine(&daemon), lost);
}

#[test]
fn requests_that_wait_at_a_killed_engine_run_on_the_next() {
    let model =
        |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
    let daemon = Start::fake().args(&["--batch", "1"]).model("test/endless", model).run();
    let mut runs = daemon.connect();
    runs.stream(request());
    runs.events_until("text");
    let mut waits = daemon.connect();
    waits.stream(json!({ "prompt": "patience", "options": { "max_tokens": 8 } }));
    signal_process(engine(&daemon), Signal::KILL);
    assert_eq!(text(&waits.events_until("finished")), "patience");
}

#[test]
fn an_engine_that_aborts_says_so_and_leaves_other_models_alone() {
    let daemon = Start::fake()
        .model("test/aborts", |files| files.config["fake"] = json!({ "abort_after": 2 }))
        .model("test/echo", |_| {})
        .run();
    daemon.call("generate.text", json!({ "model": "test/echo", "prompt": "warm" })).unwrap();
    let error = daemon.call("generate.text", json!({ "model": "test/aborts", "prompt": "abcdef" })).unwrap_err();
    assert_eq!(error["code"], 3002);
    assert!(error["message"].as_str().unwrap().contains("signal 6"), "{error}");
    let warm = daemon.call("generate.text", json!({ "model": "test/echo", "prompt": "still" })).unwrap();
    assert_eq!(warm["timings"]["load_ms"], 0.0);
}

#[test]
fn an_engine_that_keeps_dying_while_it_loads_is_left_alone_for_a_while() {
    let daemon = Start::fake().model("test/dies", |files| files.config["fake"] = json!({ "abort_load": true })).run();
    let mut refused = Vec::new();
    // Each request costs one or two engines: the load that begins while its prompt is read, and its own.
    for _ in 0..3 {
        let error = daemon.call("generate.text", json!({ "prompt": "a" })).unwrap_err();
        assert_eq!(error["code"], 3002, "{error}");
        refused.push(error["data"]["retry_after_ms"].as_u64().unwrap());
    }
    assert!(refused[2] > 0, "{refused:?}");
}

#[test]
fn an_engine_program_that_is_not_there_is_named() {
    let daemon = Start::with_engine("/no/such/engine".as_ref()).model("test/echo", |_| {}).run();
    let error = daemon.call("generate.text", json!({ "prompt": "a" })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("/no/such/engine"), "{error}");
}

#[test]
fn an_engine_program_that_is_none_is_named() {
    let daemon = Start::with_engine("/bin/true".as_ref()).model("test/echo", |_| {}).run();
    let error = daemon.call("generate.text", json!({ "prompt": "a" })).unwrap_err();
    assert_eq!(error["code"], 3002, "{error}");
}

#[test]
fn the_last_words_of_an_engine_are_heard_whatever_it_said_before() {
    let folder = tempfile::TempDir::new().unwrap();
    let engine = folder.path().join("engine");
    let script =
        "#!/bin/sh\n{ head -c 9000 /dev/zero | tr '\\0' x; printf '\\n\\377\\376\\nthe reason\\n'; } >&2\nexit 3\n";
    std::fs::write(&engine, script).unwrap();
    std::fs::set_permissions(&engine, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let daemon = Start::with_engine(&engine).model("test/echo", |_| {}).run();
    let error = daemon.call("generate.text", json!({ "prompt": "a" })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("it said: the reason"), "{error}");
}

#[test]
fn engines_end_with_a_daemon_that_is_killed() {
    let daemon = endless();
    let mut connection = daemon.connect();
    connection.stream(request());
    connection.events_until("text");
    let engine = engine(&daemon);
    daemon.signal(Signal::KILL);
    until("the engine is gone", || !alive(engine));
}

#[test]
fn a_daemon_starts_again_where_a_killed_one_left_its_socket() {
    let mut daemon = endless();
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(daemon.socket().exists(), "a killed daemon cannot clean up");
    let again = daemon.again();
    assert!(again.call("daemon.ping", json!({})).is_ok());
}
