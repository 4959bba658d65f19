//! A daemon that is older or newer than the client.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{Call, Ended, Fake, run};

const THIS: &str = env!("CARGO_PKG_VERSION");

fn welcome(version: &str, oldest: u32, newest: u32) -> Value {
    json!({"version": version, "protocol": newest, "oldest_protocol": oldest, "pid": 4711})
}

/// A daemon that says this of itself, and has no models.
fn speaking(welcome: Value) -> Fake {
    Fake::of_another_version(move |call| match call.method() {
        "daemon.hello" => call.result(&welcome),
        _ => call.result(&json!({"models": []})),
    })
}

fn models(fake: &Fake) -> Ended {
    run(fake.talkiectl(&["models"]))
}

fn no_such_method(call: &mut Call) {
    let error = json!({"code": -32601, "message": "Method not found"});
    call.raw(&format!("{}\n", json!({"jsonrpc": "2.0", "id": call.call["id"], "error": error})));
}

#[test]
fn the_client_says_what_it_speaks() {
    let fake = speaking(welcome(THIS, 1, 1));
    assert_eq!(models(&fake).code, Some(0));
    let hello = json!({"protocol": 1, "client": format!("talkiectl {THIS}")});
    assert_eq!(fake.sees_call(), ("daemon.hello".into(), json!([hello])));
}

#[test]
fn a_daemon_that_still_speaks_the_clients_version_serves_it() {
    assert_eq!(models(&speaking(welcome("9.0.0", 1, 3))).code, Some(0));
}

#[test]
fn a_daemon_that_no_longer_does_says_which_to_upgrade() {
    let ended = models(&speaking(welcome("9.0.0", 2, 3)));
    assert_eq!(ended.code, Some(1));
    let expected = format!(
        "error: talkiectl is too old: talkied 9.0.0 (process 4711) speaks version 2 to 3 of the wire, talkiectl {THIS} version 1\n\
         hint: upgrade talkiectl to the version of talkied\n"
    );
    assert_eq!(ended.stderr, expected);
}

#[test]
fn a_daemon_that_does_not_yet_says_which_to_upgrade() {
    let ended = models(&speaking(welcome("0.0.1", 0, 0)));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("error: talkied is too old: talkied 0.0.1 (process 4711) speaks version 0 of"));
    assert!(ended.stderr.contains("upgrade talkied;") || ended.stderr.contains("is talkied"), "{}", ended.stderr);
}

#[test]
fn an_older_daemon_whose_program_was_upgraded_is_to_be_ended() {
    let fake = speaking(welcome("0.0.1", 0, 0));
    // The daemon's program is looked for beside the client's.
    let home = TempDir::new().expect("a directory");
    let (program, talkied) = (home.path().join("talkiectl"), home.path().join("talkied"));
    fs::copy(env!("CARGO_BIN_EXE_talkiectl"), &program).expect("a copy");
    fs::write(&talkied, "#!/bin/sh\necho talkied 0.2.0\n").expect("a file");
    fs::set_permissions(&talkied, fs::Permissions::from_mode(0o755)).expect("its mode");
    let mut command = std::process::Command::new(program);
    command.arg("models").arg("--socket").arg(&fake.socket).env("TALKIE_HOME", home.path());
    let ended = run(command);
    let hint = "hint: the program on the disk is talkied 0.2.0 already: `talkiectl stop` ends the old one, and the next command starts the new one\n";
    assert!(ended.stderr.ends_with(hint), "{}", ended.stderr);
}

#[test]
fn a_daemon_from_before_the_greeting_is_asked_by_ping() {
    let before = |protocol: u32| {
        Fake::of_another_version(move |call| match call.method() {
            "daemon.hello" => no_such_method(call),
            "daemon.ping" => call.result(&json!({"version": "0.1.0", "protocol": protocol, "pid": 4711})),
            _ => call.result(&json!({"models": []})),
        })
    };
    assert_eq!(models(&before(1)).code, Some(0));
    let ended = models(&before(0));
    assert!(ended.code == Some(1) && ended.stderr.contains("talkied is too old"), "{}", ended.stderr);
}

#[test]
fn a_method_or_a_field_that_an_older_daemon_does_not_know_is_told_as_that() {
    let older = |error: Value| {
        Fake::of_another_version(move |call| match call.method() {
            "daemon.hello" => call.result(&welcome("0.0.9", 1, 1)),
            _ => call.raw(&format!("{}\n", json!({"jsonrpc": "2.0", "id": call.call["id"], "error": error}))),
        })
    };
    let unknown = json!({"kind": "invalid_params", "message": "unknown field `eyes`"});
    for error in [
        json!({"code": -32601, "message": "Method not found"}),
        json!({"code": -32602, "message": "unknown field `eyes`", "data": unknown}),
    ] {
        let ended = models(&older(error));
        let hint = format!("hint: talkied is 0.0.9 and talkiectl {THIS}; ");
        assert!(ended.stderr.contains(&hint) && ended.stderr.contains("talkiectl stop"), "{}", ended.stderr);
    }
}

#[test]
fn ping_and_stop_work_with_every_version() {
    let other = || {
        Fake::of_another_version(|call| match call.method() {
            "daemon.ping" => call.result(&json!({"version": "9.0.0", "protocol": 9, "pid": 4711})),
            "daemon.shutdown" => call.hang_up(),
            _ => no_such_method(call),
        })
    };
    let ended = run(other().talkiectl(&["ping"]));
    assert!(ended.code == Some(0) && ended.stdout.contains("9.0.0"), "{ended:?}");
    assert_eq!(run(other().talkiectl(&["stop"])).code, Some(0));
}
