//! Models on disk and in memory, broken ones above all.

use std::fs;

use serde_json::{Value, json};

use crate::support::model::Files;
use crate::support::{Start, until};

/// What a broken folder is listed as, and how a request to it fails.
fn check(change: impl FnOnce(&mut Files), state: &str, code: i64, words: &str) {
    let daemon = Start::fake().model("test/broken", change).model("test/sound", |_| {}).run();
    let models = daemon.call("models.list", json!({})).unwrap();
    let broken = &models["models"][0];
    assert_eq!((&broken["id"], &broken["state"]), (&json!("test/broken"), &json!(state)), "{broken}");
    if state != "complete" {
        assert!(broken["problem"].as_str().unwrap().contains(words), "{broken}");
    }
    for method in ["generate.text", "models.load"] {
        let mut params = json!({ "model": "test/broken" });
        if method == "generate.text" {
            params["prompt"] = json!("a");
        }
        let error = daemon.call(method, params).unwrap_err();
        assert_eq!(error["code"], code, "{method}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{method}: {error}");
    }
    let sound = daemon.call("generate.text", json!({ "model": "test/sound", "prompt": "fine" })).unwrap();
    assert_eq!(sound["text"], "fine");
}

#[test]
fn a_folder_without_config() {
    check(|files| files.without.push("config.json"), "partial", 1002, "config.json");
}

#[test]
fn a_folder_without_weights() {
    check(|files| files.without.push("model.safetensors"), "partial", 1002, "safetensors");
}

#[test]
fn a_truncated_weights_file() {
    check(|files| files.weights.truncate(files.weights.len() - 1), "partial", 1002, "model.safetensors");
}

#[test]
fn an_unknown_model_type() {
    check(|files| files.config["model_type"] = json!("mamba9"), "broken", 1003, "mamba9");
}

#[test]
fn a_config_that_is_not_json() {
    check(|files| files.config = Value::String("x".into()), "broken", 1002, "config.json");
}

#[test]
fn a_tokenizer_that_does_not_match_the_vocabulary() {
    check(|files| files.config["vocab_size"] = json!(100), "complete", 1002, "vocab");
}

#[test]
fn a_model_that_its_engine_refuses() {
    let words = "tensor x has the wrong shape";
    check(|files| files.config["fake"] = json!({ "fail_load": words }), "complete", 1002, words);
}

#[test]
fn a_model_is_loaded_kept_and_unloaded() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let loaded = daemon.call("models.load", json!({ "model": "test/echo", "keep_alive": "forever" })).unwrap();
    assert_eq!((&loaded["is_loaded"], &loaded["residency"]["state"]), (&json!(true), &json!("idle")));
    assert_eq!(loaded["residency"]["keep_alive"], "forever");
    assert_eq!(daemon.call("models.unload", json!({ "model": "test/echo" })).unwrap(), json!({ "unloaded": true }));
    until("it is gone", || {
        !daemon.call("models.get", json!({ "model": "test/echo" })).unwrap()["is_loaded"].as_bool().unwrap()
    });
    assert_eq!(daemon.call("models.unload", json!({ "model": "test/echo" })).unwrap(), json!({ "unloaded": false }));
    assert_eq!(daemon.call("models.unload", json!({ "model": "no/such" })).unwrap_err()["code"], 1001);
}

#[test]
fn a_model_goes_after_its_keep_alive() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    daemon.call("generate.text", json!({ "prompt": "a", "keep_alive": 0 })).unwrap();
    until("it is unloaded", || daemon.call("daemon.status", json!({})).unwrap()["residents"] == json!([]));
}

#[test]
fn a_model_in_use_is_not_unloaded() {
    let slow = |files: &mut Files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
    let daemon = Start::fake().model("test/slow", slow).run();
    let mut connection = daemon.connect();
    connection.stream(json!({ "prompt": "slow ", "options": { "max_tokens": 3000 } }));
    connection.events_until("text");
    assert_eq!(daemon.call("models.unload", json!({ "model": "test/slow" })).unwrap_err()["code"], 1006);
}

#[test]
fn two_apps_with_different_options_share_one_copy_and_one_load() {
    let slow = |files: &mut Files| files.config["fake"] = json!({ "load_step_ms": 20 });
    let daemon = Start::fake().model("test/slow", slow).run();
    let (mut one, mut two) = (daemon.connect(), daemon.connect());
    one.request("generate.text", json!({ "prompt": "one", "options": { "temperature": 0 } }));
    two.request("generate.text", json!({ "prompt": "two", "options": { "top_k": 3, "system_prompt": "s" } }));
    assert_eq!(one.line().unwrap()["result"]["text"], "one");
    assert_eq!(two.line().unwrap()["result"]["text"], "stwo");
    assert_eq!(daemon.call("daemon.status", json!({})).unwrap()["residents"].as_array().unwrap().len(), 1);
}

#[test]
fn a_model_installed_while_the_daemon_runs_is_there() {
    let daemon = Start::fake().run();
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
    daemon.install("test/new", |_| {});
    assert_eq!(daemon.call("generate.text", json!({ "prompt": "new" })).unwrap()["text"], "new");
}

#[test]
fn a_model_dropped_in_is_listed_and_one_taken_away_serves_on() {
    let daemon = Start::fake().run();
    let mut follower = daemon.connect();
    follower.call("models.subscribe", json!({})).unwrap();
    let seq = follower.event_of("current")["seq"].as_u64().unwrap();
    daemon.install("test/new", |_| {});
    assert_eq!(follower.event_of("added")["model"]["id"], "test/new");
    assert_eq!(daemon.call("models.list", json!({})).unwrap()["models"][0]["id"], "test/new");
    daemon.call("models.load", json!({ "model": "test/new", "keep_alive": "forever" })).unwrap();
    follower.event_of("loaded");
    fs::remove_dir_all(daemon.home.path().join("Models/MLX/test_new")).unwrap();
    assert_eq!(follower.event_of("removed")["model"], "test/new");
    let left = &daemon.call("models.list", json!({})).unwrap()["models"][0];
    assert_eq!(
        (&left["state"], &left["is_loaded"], &left["is_installed"]),
        (&json!("gone"), &json!(true), &json!(false))
    );
    assert!(left["problem"].as_str().unwrap().contains("serves on"), "{left}");
    let served = daemon.call("generate.text", json!({ "model": "test/new", "prompt": "still here" })).unwrap();
    assert_eq!(served["text"], "still here");
    daemon.call("models.unload", json!({ "model": "test/new" })).unwrap();
    assert_eq!(follower.event_of("unloaded")["reason"], "requested");
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
    // Who comes back is told what it has missed, in the same words.
    let mut late = daemon.connect();
    late.call("models.subscribe", json!({ "after": seq })).unwrap();
    for expected in ["added", "loaded", "removed", "unloaded"] {
        let event = late.event_of(expected);
        assert!(event["seq"].as_u64().unwrap() > seq, "{event}");
    }
}

#[test]
fn a_deleted_model_gives_its_bytes_back_and_is_gone() {
    let daemon = Start::fake().model("test/echo", |_| {}).model("test/other", |_| {}).run();
    daemon.call("generate.text", json!({ "model": "test/echo", "prompt": "a", "keep_alive": "forever" })).unwrap();
    let before = daemon.call("models.storage", json!({})).unwrap();
    let deleted = daemon.call("models.delete", json!({ "model": "test/echo" })).unwrap();
    let after = daemon.call("models.storage", json!({})).unwrap();
    let used = |storage: &Value| storage["used_bytes"].as_u64().unwrap();
    assert_eq!(used(&before) - used(&after), deleted["freed_bytes"].as_u64().unwrap());
    assert_eq!(daemon.call("daemon.status", json!({})).unwrap()["residents"], json!([]));
    let error = daemon.call("generate.text", json!({ "model": "test/echo", "prompt": "a" })).unwrap_err();
    assert_eq!(error["code"], 1001, "{error}");
    assert_eq!(daemon.call("models.delete", json!({ "model": "test/echo" })).unwrap_err()["code"], 1001);
}

#[test]
fn a_model_in_use_is_deleted_only_by_force() {
    let slow = |files: &mut Files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
    let daemon = Start::fake().model("test/slow", slow).run();
    let mut connection = daemon.connect();
    connection.stream(json!({ "prompt": "slow ", "options": { "max_tokens": 3000 } }));
    connection.events_until("text");
    assert_eq!(daemon.call("models.delete", json!({ "model": "test/slow" })).unwrap_err()["code"], 1006);
    let deleted = daemon.call("models.delete", json!({ "model": "test/slow", "force": "cancel" })).unwrap();
    assert!(deleted["freed_bytes"].as_u64().unwrap() > 0);
    let last = connection.events_until("finished").pop().unwrap();
    assert_eq!(last["finish_reason"], "cancelled");
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
}

#[test]
fn a_deletion_that_waits_lets_what_runs_end_and_takes_nothing_more() {
    let slow = |files: &mut Files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 200 });
    let daemon = Start::fake().model("test/slow", slow).run();
    let mut connection = daemon.connect();
    connection.stream(json!({ "prompt": "slow ", "options": { "max_tokens": 400 } }));
    connection.events_until("text");
    let mut deleter = daemon.connect();
    deleter.request("models.delete", json!({ "model": "test/slow", "force": "wait" }));
    until("it takes nothing more", || {
        let refused = daemon.call("generate.text", json!({ "model": "test/slow", "prompt": "late" })).err();
        refused.is_some_and(|error| error["message"].as_str().is_some_and(|words| words.contains("is being deleted")))
    });
    let last = connection.events_until("finished").pop().unwrap();
    assert_eq!(last["usage"]["completion_tokens"], 400, "{last}");
    assert!(deleter.line().unwrap()["result"]["freed_bytes"].as_u64().unwrap() > 0);
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
}

#[test]
fn a_model_of_the_hugging_face_cache_is_used_in_place_and_never_deleted() {
    let daemon = Start::fake().run();
    let snapshot = daemon.home.path().join("hub/models--org--cached/snapshots/aa11");
    daemon.install("test/away", |_| {});
    fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
    fs::rename(daemon.home.path().join("Models/MLX/test_away"), &snapshot).unwrap();
    let served = daemon.call("generate.text", json!({ "model": "org/cached", "prompt": "found" })).unwrap();
    assert_eq!(served["text"], "found");
    until("it is listed", || daemon.call("models.get", json!({ "model": "org/cached" })).is_ok());
    let model = daemon.call("models.get", json!({ "model": "org/cached" })).unwrap();
    assert_eq!((&model["source"], &model["revision"]), (&json!("hugging_face_cache"), &json!("aa11")));
    let error = daemon.call("models.delete", json!({ "model": "org/cached" })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("hf cache rm"), "{error}");
    assert!(snapshot.join("config.json").exists());
}

#[test]
fn an_import_of_something_else_is_refused_and_leaves_nothing() {
    let daemon = Start::fake().run();
    let file = daemon.home.path().join("notes.gguf");
    fs::write(&file, "these are my notes").unwrap();
    let error = daemon.call("models.import", json!({ "path": file })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("notes.gguf"), "{error}");
    assert_eq!(daemon.call("models.import", json!({ "path": "notes.gguf" })).unwrap_err()["code"], -32602);
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
}
