//! Secrets of workflows: kept, listed and forgotten, and told by nothing.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::cli::{run, stderr, stdout};
use crate::support::Start;

const SECRET: &str = "sk-very-hidden-0123456789";

#[test]
fn a_secret_is_kept_and_told_by_nothing() {
    let daemon = Start::fake().args(&["--log", "debug"]).run();
    let mut told = String::new();
    for (words, input) in [
        (&["secret", "set", "my-hook"][..], format!("{SECRET}\n")),
        (&["secret", "ls"], String::new()),
        (&["secret", "ls", "--json"], String::new()),
        (&["secret", "set", "my-hook"], format!("{SECRET} {SECRET}")),
        (&["secret", "set", "My Hook"], SECRET.into()),
        (&["providers"], String::new()),
    ] {
        let output = run(&daemon, words, &input);
        told += &(stdout(&output) + &stderr(&output));
    }
    for words in [
        "the secret my-hook is in a file that only you can read",
        "my-hook",
        r#"{"secrets":[{"name":"my-hook","from":"file"}]}"#,
        "`value` is no key",
        r#""My Hook" cannot name a secret"#,
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let path = daemon.home.path().join("keys/my-hook");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), SECRET, "what was refused has changed nothing");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let removed = run(&daemon, &["secret", "rm", "my-hook"], "");
    assert_eq!(stdout(&removed), "my-hook is forgotten\n");
    let again = run(&daemon, &["secret", "rm", "my-hook"], "");
    assert!(!again.status.success() && stderr(&again).contains("no secret my-hook is kept"), "{}", stderr(&again));
    assert!(!path.exists());
    let written = std::fs::read_to_string(daemon.home.path().join("logs/talkied.log")).unwrap_or_default();
    for text in [told, daemon.log(), written] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn the_environment_goes_before_what_is_kept() {
    let daemon = Start::fake().env("TALKIE_KEY_MY_HOOK", SECRET).run();
    let kept = daemon.call("secrets.set", json!({ "name": "my-hook", "value": "other" })).unwrap();
    assert_eq!(kept, json!({ "name": "my-hook", "from": "environment" }));
    let list = daemon.call("secrets.list", json!({})).unwrap();
    assert_eq!(list, json!({ "secrets": [{ "name": "my_hook", "from": "environment" }] }));
}

#[test]
fn the_key_of_a_server_is_a_secret_of_its_name() {
    let daemon = Start::fake().run();
    daemon.call("secrets.set", json!({ "name": "gemini", "value": SECRET })).unwrap();
    let key = || daemon.call("providers.get", json!({ "provider": "gemini" })).unwrap()["key"].clone();
    assert_eq!(key(), "file");
    assert_eq!(daemon.call("secrets.remove", json!({ "name": "gemini" })).unwrap(), json!({ "removed": true }));
    assert_eq!(key(), "missing");
}

#[test]
fn what_is_no_secret_is_refused_by_field() {
    let daemon = Start::fake().run();
    for (params, words) in [
        (json!({ "name": "../config.toml", "value": "x" }), "cannot name a secret"),
        (json!({ "name": "a", "value": "" }), "`value`"),
        (json!({ "name": "a", "value": 1 }), "value"),
        (json!({ "name": "a", "value": "x", "more": 1 }), "more"),
    ] {
        let error = daemon.call("secrets.set", params).unwrap_err();
        assert_eq!(error["code"], -32602, "{error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
}
