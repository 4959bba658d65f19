//! Vectors of texts, from a fake engine that tells what it was given: first token, last token, count, pooling.

use serde_json::{Value, json};

use crate::support::{Daemon, Start, until};

fn daemon() -> Daemon {
    Start::fake().model("test/vectors", |files| files.config["model_type"] = json!("bert")).run()
}

fn vectors(daemon: &Daemon, request: Value) -> Value {
    daemon.call("embeddings.create", request).unwrap()["embeddings"].clone()
}

#[test]
fn each_text_gets_a_vector_in_its_place() {
    let daemon = daemon();
    let request = json!({ "input": ["abc", "z"], "normalize": false, "trace_id": "memo 7" });
    let result = daemon.call("embeddings.create", request).unwrap();
    assert_eq!(result["embeddings"], json!([[97.0, 99.0, 3.0, 0.0], [122.0, 122.0, 1.0, 0.0]]));
    assert_eq!((&result["model"], &result["trace_id"]), (&json!("test/vectors"), &json!("memo 7")));
    assert_eq!(result["prompt_tokens"], 4);
    assert!(result["timings"]["load_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn vectors_have_length_one_unless_asked_otherwise() {
    let found = vectors(&daemon(), json!({ "input": ["abc"] }));
    let squares = found[0].as_array().unwrap().iter().map(|number| number.as_f64().unwrap().powi(2));
    assert!((squares.sum::<f64>() - 1.0).abs() < 1e-6);
}

#[test]
fn pooling_is_the_request_s_or_the_model_s_or_the_mean() {
    let daemon = daemon();
    let pooled = |request: Value| vectors(&daemon, request)[0][3].clone();
    let request = |pooling: Value| json!({ "input": ["abc"], "normalize": false, "pooling": pooling });
    assert_eq!(pooled(request(Value::Null)), 0.0);
    assert_eq!(pooled(request(json!("first"))), 1.0);
    assert_eq!(pooled(request(json!("last"))), 2.0);
    drop(daemon);
    let said = json!({ "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false });
    let daemon = Start::fake().model("test/vectors", |files| files.pooling = Some(said)).run();
    assert_eq!(vectors(&daemon, json!({ "input": ["abc"], "normalize": false }))[0][3], 1.0);
}

#[test]
fn what_cannot_be_embedded_is_refused_by_name() {
    let daemon = daemon();
    let refused = |request: Value| daemon.call("embeddings.create", request).unwrap_err()["data"].clone();
    for (request, words) in [
        (json!({ "input": [] }), "0 texts"),
        (json!({ "input": ["a", ""] }), "`input[1]`"),
        (json!({ "input": ["a"], "pooling": "max" }), "max"),
        (json!({ "input": ["a"], "dimensions": 3 }), "dimensions"),
        (json!({}), "input"),
    ] {
        let error = refused(request);
        assert_eq!(error["kind"], "invalid_params");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
    let error = refused(json!({ "input": ["short", "a".repeat(5000)] }));
    assert_eq!(error["kind"], "context_overflow");
    assert_eq!((&error["needed_tokens"], &error["context_length"]), (&json!(5000), &json!(4096)));
    assert!(error["message"].as_str().unwrap().contains("`input[1]`"), "{error}");
}

#[test]
fn the_obvious_model_is_one_that_can_do_it() {
    let start = Start::fake().model("test/text", |_| {});
    let daemon = start.model("test/vectors", |files| files.config["model_type"] = json!("bert")).run();
    // An encoder makes no text, so there is one choice only, whatever is in memory.
    daemon.call("embeddings.create", json!({ "model": "test/vectors", "input": ["a"] })).unwrap();
    assert_eq!(daemon.call("generate.text", json!({ "prompt": "a" })).unwrap()["model"], "test/text");
    let error = daemon.call("embeddings.create", json!({ "input": ["a"] })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("several models"), "{error}");
    let models = daemon.call("models.list", json!({})).unwrap()["models"].clone();
    let capabilities = |place: usize| models[place]["capabilities"].clone();
    assert_eq!((capabilities(0), capabilities(1)), (json!(["generate", "embed"]), json!(["embed"])));
}

#[test]
fn a_failure_and_a_cancel_are_errors() {
    let failing = Start::fake().model("test/vectors", |files| files.config["fake"] = json!({ "fail_after": 0 })).run();
    let error = failing.call("embeddings.create", json!({ "input": ["a"] })).unwrap_err();
    assert_eq!(error["data"]["kind"], "generation_failed");

    let slow = Start::fake().model("test/vectors", |files| files.config["fake"] = json!({ "token_ms": 50 })).run();
    let mut connection = slow.connect();
    connection.request("embeddings.create", json!({ "input": vec!["a"; 1000] }));
    let requests = || slow.call("daemon.status", json!({})).unwrap()["requests"].clone();
    until("the request runs", || !requests().as_array().unwrap().is_empty());
    let id = requests()[0]["request_id"].clone();
    slow.call("generate.cancel", json!({ "request_id": id })).unwrap();
    let answer = connection.line().unwrap();
    assert_eq!(answer["error"]["data"]["kind"], "cancelled", "{answer}");
}
