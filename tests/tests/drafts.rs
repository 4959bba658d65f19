//! Models with a draft: what its engine is told, what is said of it, and what happens without one.

use std::fs;

use serde_json::{Value, json};

use crate::support::model::Files;
use crate::support::{Daemon, Start};

fn takes(weight_bytes: u64, token_bytes: u64) -> impl Fn(&mut Files) {
    move |files| files.config["fake"] = json!({ "weight_bytes": weight_bytes, "token_bytes": token_bytes })
}

fn asked(daemon: &Daemon, model: &str, speculation: &str) -> Result<Value, Value> {
    let options = json!({ "max_tokens": 4, "speculation": speculation });
    daemon.call("generate.text", json!({ "model": model, "prompt": "hello", "options": options }))
}

fn residency(daemon: &Daemon) -> Value {
    daemon.call("daemon.status", json!({})).unwrap()["residents"][0]["residency"].clone()
}

#[test]
fn a_draft_is_loaded_with_its_model_and_counts_in_the_budget() {
    let start = Start::fake().args(&["--memory", "1000", "--draft-models", "test/large=test/small"]);
    let daemon = start.model("test/large", takes(400, 0)).model("test/small", takes(150, 0)).run();
    let answer = asked(&daemon, "test/large", "draft").unwrap();
    assert_eq!((&answer["text"], &answer["usage"]["speculated_tokens"]), (&json!("hell"), &json!(4)));
    let residency = residency(&daemon);
    assert_eq!((&residency["draft_model"], &residency["draft_problem"]), (&json!("test/small"), &Value::Null));
    let status = daemon.call("daemon.status", json!({})).unwrap();
    assert_eq!(status["memory"]["pools"][0]["held_bytes"], 550);
    assert_eq!(status["residents"].as_array().unwrap().len(), 1, "the draft is none of its own");
}

#[test]
fn a_request_for_a_draft_that_is_not_named_says_where_to_name_it() {
    let daemon = Start::fake().model("test/large", takes(400, 0)).run();
    let error = asked(&daemon, "test/large", "draft").unwrap_err();
    assert_eq!(error["data"]["kind"], "not_supported");
    let words = error["message"].as_str().unwrap();
    assert!(words.contains("test/large has no draft model") && words.contains("`draft_models`"), "{words}");
    assert_eq!(asked(&daemon, "test/large", "auto").unwrap()["text"], "hell");
    assert_eq!(residency(&daemon)["draft_model"], Value::Null);
}

#[test]
fn a_model_is_loaded_without_a_draft_that_is_not_installed_and_that_is_told() {
    let start = Start::fake().args(&["--draft-models", "test/large=test/absent"]);
    let daemon = start.model("test/large", takes(400, 0)).run();
    assert_eq!(asked(&daemon, "test/large", "auto").unwrap()["text"], "hell");
    let problem = residency(&daemon)["draft_problem"].as_str().unwrap().to_owned();
    assert!(problem.starts_with("test/absent: ") && problem.contains("not installed"), "{problem}");
    let error = asked(&daemon, "test/large", "draft").unwrap_err();
    let words = error["message"].as_str().unwrap();
    assert!(words.contains("test/absent") && words.contains("`draft_models`"), "{words}");
}

#[test]
fn an_engine_that_refuses_a_draft_runs_its_model_without_and_that_is_told() {
    let refuses = |files: &mut Files| files.config["fake"] = json!({ "refuse_draft": "token 5 is another" });
    let start = Start::fake().args(&["--draft-models", "test/large=test/small"]);
    let daemon = start.model("test/large", refuses).model("test/small", takes(150, 0)).run();
    assert_eq!(asked(&daemon, "test/large", "auto").unwrap()["text"], "hell");
    let residency = residency(&daemon);
    assert_eq!(residency["draft_problem"], "test/small: token 5 is another");
    assert_eq!(residency["draft_model"], Value::Null);
    assert_eq!(asked(&daemon, "test/large", "draft").unwrap_err()["data"]["kind"], "not_supported");
}

#[test]
fn the_table_of_the_file_is_taken_by_the_next_load_of_a_model() {
    let start = Start::fake().model("test/large", takes(400, 0)).model("test/small", takes(150, 0));
    let daemon = start.run();
    assert_eq!(asked(&daemon, "test/large", "auto").unwrap()["text"], "hell");
    let file = "[draft_models]\n\"test/large\" = \"test/small\"\n";
    fs::write(daemon.home.path().join("config.toml"), file).unwrap();
    let reloaded = daemon.call("daemon.reload", json!({})).unwrap();
    assert_eq!(reloaded["changed"], json!(["draft_models"]));
    asked(&daemon, "test/large", "draft").unwrap_err();
    daemon.call("models.unload", json!({ "model": "test/large" })).unwrap();
    asked(&daemon, "test/large", "draft").unwrap();
    assert_eq!(residency(&daemon)["draft_model"], "test/small");
}
