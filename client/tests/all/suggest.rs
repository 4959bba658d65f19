//! What is suggested to somebody who named what is not there.

use serde_json::{Value, json};

use crate::commands::model;
use crate::fake::{Ended, Fake, pull, run};

const LLAMA: &str = "mlx-community/Llama-3.2-3B-Instruct-4bit";

fn listed(id: &str) -> Value {
    let marks = json!({
        "download_url": "", "parameters": 1, "context_length": 1, "license": "MIT", "good_at": "notes",
        "memory_bytes": 1, "fits": true, "machine_gb": 8, "is_default": false, "is_installed": false,
        "source": "built_in", "id": id,
    });
    model(&marks)
}

/// The end of a command whose name the daemon does not know; `gemma` is of the catalogue, two others are installed.
fn unknown(arguments: &[&str], code: i32, kind: &'static str) -> Ended {
    let fake = Fake::new(move |call| match call.method() {
        "models.list" => call.result(&json!({"models": [model(&json!({"id": LLAMA})), model(&json!({"id": "Orca"}))]})),
        "models.catalogue" => call.result(&json!({"models": [listed("google/gemma-3")], "memory_bytes": 0})),
        "pulls.list" => call.result(&json!({"pulls": [pull("queued", &json!({}))]})),
        _ => call.error(code, &json!({"kind": kind, "message": "no such thing"})),
    });
    run(fake.talkiectl(arguments))
}

#[track_caller]
fn suggests(arguments: &[&str], code: i32, kind: &'static str, hint: &str) {
    let ended = unknown(arguments, code, kind);
    assert_eq!((ended.code, &*ended.stdout), (Some(4), ""));
    assert_eq!(ended.stderr, format!("error: no such thing\nhint: {hint}\n"));
}

#[test]
fn an_installed_model_is_suggested_and_never_acted_on() {
    let hint = format!("did you mean {LLAMA}? `talkiectl models` lists what is installed");
    for arguments in [
        &["load", "llama-3b"][..],
        &["unload", "Llama-3.2-3B-Instruct-4bit"],
        &["verify", "mlx-comunity/llama-3.2-3b-instruct-4bit"],
        &["rm", "llama"],
        &["generate", "hi", "-m", "lama-3.2-3b-instruct-4bit"],
    ] {
        suggests(arguments, 1001, "model_not_found", &hint);
    }
}

#[test]
fn a_model_that_could_be_pulled_is_suggested() {
    let exact = "it is not installed; `talkiectl pull google/gemma-3` downloads it";
    suggests(&["load", "google/gemma-3"], 1001, "model_not_found", exact);
    let near = "did you mean google/gemma-3? `talkiectl pull MODEL` downloads it";
    suggests(&["load", "gemma"], 1001, "model_not_found", near);
    let hub = "did you mean google/gemma-3? `talkiectl catalogue` lists models that are known to work";
    suggests(&["pull", "goggle/gemma-3"], 1010, "repository_not_found", hub);
}

#[test]
fn a_pull_is_suggested() {
    let hint = "did you mean org/x? `talkiectl pulls` lists the downloads";
    suggests(&["pulls", "pause", "ogr/x"], 1009, "pull_not_found", hint);
}

#[test]
fn what_is_like_nothing_keeps_the_hint_of_its_kind() {
    let ended = unknown(&["load", "mistral"], 1001, "model_not_found");
    assert!(ended.stderr.contains("\nhint: `talkiectl models` lists what is installed; "), "{}", ended.stderr);
    let other = unknown(&["load", "llama"], 3001, "busy");
    assert_eq!((other.code, &*other.stderr), (Some(5), "error: no such thing\nhint: try again in a moment\n"));
}

#[test]
fn the_suggestion_is_in_the_json_too() {
    let ended = unknown(&["load", "llama", "--json"], 1001, "model_not_found");
    let error: Value = serde_json::from_str(&ended.stderr).expect("JSON");
    assert_eq!((&error["error"]["code"], &error["error"]["exit_code"]), (&json!(1001), &json!(4)));
    assert!(error["error"]["hint"].as_str().is_some_and(|hint| hint.contains(LLAMA)), "{error}");
}

#[test]
fn a_pull_that_finds_no_repository_suggests_one() {
    let fake = Fake::new(|call| match call.method() {
        "pulls.start" => call.result(&pull("queued", &json!({}))),
        "pulls.subscribe" => {
            call.subscribed();
            let error = json!({"kind": "repository_not_found", "message": "google/gema-3 is not on the hub"});
            call.event(&json!({"pull": pull("failed", &json!({"error": error}))}));
        }
        "models.catalogue" => call.result(&json!({"models": [listed("google/gemma-3")], "memory_bytes": 0})),
        _ => call.result(&json!({"models": []})),
    });
    let ended = run(fake.talkiectl(&["pull", "google/gema-3"]));
    assert_eq!(ended.code, Some(4));
    assert!(ended.stderr.contains("\nhint: did you mean google/gemma-3? "), "{}", ended.stderr);
}
