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
fn an_import_of_something_else_is_refused_and_leaves_nothing() {
    let daemon = Start::fake().run();
    let file = daemon.home.path().join("notes.gguf");
    fs::write(&file, "these are my notes").unwrap();
    let error = daemon.call("models.import", json!({ "path": file })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("notes.gguf"), "{error}");
    assert_eq!(daemon.call("models.import", json!({ "path": "notes.gguf" })).unwrap_err()["code"], -32602);
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
}
