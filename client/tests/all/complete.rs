//! What the shell is told when somebody presses Tab.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::commands::model;
use crate::fake::{Ended, Fake, Seen, gate, pull, run, talkiectl};

/// Presses Tab behind these words, as bash asks.
fn completing(home: &TempDir, socket: &Path, words: &[&str]) -> Command {
    let arguments = [&["--", "talkiectl"][..], words].concat();
    let mut command = talkiectl(home, &arguments);
    command.env("TALKIECTL_COMPLETE", "bash").env("TALKIE_SOCKET", socket);
    command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).env("_CLAP_IFS", "\n");
    command
}

fn completed(words: &[&str]) -> (Vec<String>, Fake) {
    let fake = Fake::new(|call| match call.method() {
        "models.list" => {
            let cold = model(&json!({"id": "org/cold", "is_loaded": false}));
            let bad = model(&json!({"id": "org/bad\nname"}));
            call.result(&json!({"models": [model(&json!({})), cold, bad]}));
        }
        "models.catalogue" => {
            let entry = |id: &str, is_installed: bool| {
                model(&json!({
                    "id": id, "download_url": "", "parameters": 1, "context_length": 1, "license": "MIT",
                    "good_at": "notes", "memory_bytes": 1, "fits": true, "machine_gb": 8, "is_default": false,
                    "is_installed": is_installed, "source": "built_in",
                }))
            };
            call.result(&json!({"models": [entry("org/here", true), entry("org/there", false)], "memory_bytes": 0}));
        }
        "pulls.list" => call.result(&json!({"pulls": [pull("queued", &json!({"model": "org/coming"}))]})),
        other => panic!("{other} was not expected"),
    });
    let Ended { code, stdout, stderr } = run(completing(&fake.home, &fake.socket, words));
    assert_eq!((code, &*stderr), (Some(0), ""));
    // Options follow where nothing was begun.
    let values = stdout.lines().filter(|line| !line.starts_with('-')).map(str::to_owned);
    (values.collect(), fake)
}

#[track_caller]
fn check(words: &[&str], expected: &[&str]) {
    assert_eq!(completed(words).0, expected, "{words:?}");
}

#[test]
fn models_complete_where_a_model_is_named() {
    let asking = [&["generate", "--model", ""][..], &["chat", "-m", ""], &["run", "x.md", "--model", ""]];
    for words in [&["load", ""][..], &["rm", ""], &["verify", ""]].into_iter().chain(asking) {
        check(words, &["org/x", "org/cold"]);
    }
    check(&["load", "org/c"], &["org/cold"]);
    check(&["load", "nothing"], &[]);
    check(&["unload", ""], &["org/x"]);
    check(&["rm", "org/x", "org/c"], &["org/cold"]);
    check(&["pull", ""], &["org/there"]);
    for what in ["pause", "resume", "cancel"] {
        check(&["pulls", what, ""], &["org/coming"]);
    }
}

#[test]
fn commands_complete_without_a_word_to_the_daemon() {
    let (values, fake) = completed(&["pu"]);
    assert_eq!(values, ["pull", "pulls"]);
    run(fake.talkiectl(&["pulls"]));
    assert_eq!(fake.sees_call().0, "pulls.list", "the first thing it hears");
}

#[test]
fn without_a_daemon_the_shell_is_told_nothing_and_nothing_is_started() {
    let home = TempDir::new().expect("a directory");
    let ended = run(completing(&home, &home.path().join("talkied.sock"), &["load", "org"]));
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "", ""));
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0, "nothing was started");
}

#[test]
fn a_daemon_that_does_not_answer_does_not_hold_the_shell() {
    let (_open, wait) = gate();
    let fake = Fake::new(move |_| wait());
    let ended = run(completing(&fake.home, &fake.socket, &["load", "org"]));
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "", ""));
    assert!(matches!(fake.sees(), Seen::Call(_)));
}

#[test]
fn each_shell_gets_its_script() {
    let home = TempDir::new().expect("a directory");
    for shell in ["bash", "zsh", "fish"] {
        let mut command = talkiectl(&home, &[]);
        command.env("TALKIECTL_COMPLETE", shell);
        let ended = run(command);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
        assert!(ended.stdout.contains("TALKIECTL_COMPLETE") && ended.stdout.contains("talkiectl"), "{}", ended.stdout);
        let printed = run(talkiectl(&home, &["completions", shell]));
        assert_eq!((printed.code, &*printed.stderr), (Some(0), ""));
        assert!(printed.stdout.contains("TALKIECTL_COMPLETE"), "{}", printed.stdout);
        let told = run(talkiectl(&home, &["completions", shell, "--json"])).stdout;
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((&told["shell"], told["script"].as_str()), (&json!(shell), Some(&*printed.stdout)));
    }
    let other = run(talkiectl(&home, &["completions", "tcsh"]));
    assert_eq!(other.code, Some(2));
    assert!(other.stderr.contains("bash, zsh, fish"), "{}", other.stderr);
}

#[test]
fn a_variable_of_another_program_is_left_alone() {
    let fake = Fake::new(|call| call.result(&json!({"models": []})));
    let mut command = fake.talkiectl(&["models"]);
    command.env("COMPLETE", "bash");
    assert_eq!(run(command).stdout, "no models are installed; `talkiectl catalogue` lists what can be pulled\n");
}
