//! What `--help` says, word by word.

use tempfile::TempDir;

use crate::fake::{run, talkiectl};

fn help(arguments: &[&str]) -> String {
    let home = TempDir::new().expect("a directory");
    let ended = run(talkiectl(&home, arguments));
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    ended.stdout
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(help(&["--help"]));
}

#[test]
fn help_of_every_command() {
    for command in [
        "generate",
        "models",
        "ps",
        "load",
        "unload",
        "catalogue",
        "pull",
        "pulls",
        "import",
        "verify",
        "rm",
        "du",
        "status",
        "ping",
        "cancel",
        "stop",
    ] {
        insta::assert_snapshot!(format!("help_of_{command}"), help(&[command, "--help"]));
    }
}

#[test]
fn help_of_what_is_done_to_a_pull() {
    let of_all = ["pause", "resume", "cancel"].map(|what| help(&["pulls", what, "--help"]));
    insta::assert_snapshot!(of_all.concat());
}

#[test]
fn no_command_shows_the_help_and_fails() {
    let home = TempDir::new().expect("a directory");
    let ended = run(talkiectl(&home, &[]));
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
    assert!(ended.stderr.contains("Usage: talkiectl"), "{}", ended.stderr);
}

#[test]
fn wrong_usage_is_json_where_json_was_asked_for() {
    let home = TempDir::new().expect("a directory");
    let ended = run(talkiectl(&home, &["ping", "--count", "0", "--json"]));
    assert_eq!(ended.code, Some(2));
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).expect("one JSON document");
    assert_eq!(error["error"]["exit_code"], 2);
    assert!(error["error"]["message"].as_str().is_some_and(|message| message.contains("--count")), "{error}");
}
