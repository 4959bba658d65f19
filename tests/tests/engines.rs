//! Two engines on one machine: which of them answers, and that neither is in the other's way.

use serde_json::{Value, json};

use crate::support::{Daemon, Start, program};

const MODEL: &str = "test/echo";

/// A daemon with both, both the fake one, of which MLX's says that it computes on `device`.
fn both(device: &str) -> Start {
    let candle = program("fake-engine");
    Start::fake().env("TALKIE_CANDLE", candle.to_str().unwrap()).env("FAKE_DEVICE", device).model(MODEL, |_| {})
}

fn who(daemon: &Daemon, request: Value) -> String {
    let result = daemon.call("generate.text", request).unwrap();
    assert_eq!(result["text"], "hello");
    result["provider"].as_str().unwrap().to_owned()
}

#[test]
fn a_gpu_decides_who_answers_where_the_request_does_not() {
    for (device, expected) in [("cpu", "candle"), ("Some GPU", "mlx")] {
        let daemon = both(device).run();
        let model = daemon.call("models.get", json!({ "model": MODEL })).unwrap();
        assert_eq!((&model["provider"], &model["backends"]), (&json!(expected), &json!(["mlx", "candle"])));
        for request in [
            json!({ "prompt": "hello" }),
            json!({ "prompt": "hello", "model": MODEL }),
            json!({ "prompt": "hello", "tier": "budget" }),
        ] {
            assert_eq!(who(&daemon, request), expected);
        }
        let loaded = daemon.call("models.load", json!({ "model": MODEL })).unwrap();
        assert_eq!((&loaded["provider"], &loaded["is_loaded"]), (&json!(expected), &json!(true)));
    }
}

#[test]
fn the_request_decides_and_both_may_hold_a_model() {
    let daemon = both("cpu").run();
    for provider in ["mlx", "candle"] {
        assert_eq!(who(&daemon, json!({ "prompt": "hello", "provider": provider })), provider);
        let model = format!("{provider}/{MODEL}");
        assert_eq!(who(&daemon, json!({ "prompt": "hello", "model": model })), provider);
    }
    let unloaded = daemon.call("models.unload", json!({ "model": MODEL })).unwrap();
    assert_eq!(unloaded["unloaded"], true);
    let counted = daemon.call("generate.count_tokens", json!({ "prompt": "hello", "provider": "candle" })).unwrap();
    assert_eq!(counted["prompt_tokens"], 5);
}

#[test]
fn the_users_order_counts_more_than_a_gpu() {
    let daemon = both("cpu").run();
    std::fs::write(daemon.home.path().join("providers.toml"), r#"order = ["mlx", "candle"]"#).unwrap();
    assert_eq!(who(&daemon, json!({ "prompt": "hello", "model": MODEL })), "mlx");
    assert_eq!(who(&daemon, json!({ "prompt": "hello" })), "mlx");
}

#[test]
fn vectors_are_made_by_the_engine_that_can() {
    let daemon = both("cpu").run();
    let made = daemon.call("embeddings.create", json!({ "model": MODEL, "input": ["x"] })).unwrap();
    assert_eq!(made["provider"], "mlx");
    let error = daemon.call("embeddings.create", json!({ "provider": "candle", "model": MODEL, "input": ["x"] }));
    assert_eq!(error.unwrap_err()["data"]["kind"], "not_supported");
}

#[test]
fn a_model_that_one_engine_knows_alone_is_run_by_it() {
    let daemon = both("cpu").model("test/moe", |files| files.config["model_type"] = "mixtral".into()).run();
    assert_eq!(who(&daemon, json!({ "prompt": "hello", "model": "test/moe" })), "mlx");
    let error = daemon.call("generate.text", json!({ "prompt": "hello", "provider": "candle", "model": "test/moe" }));
    let error = error.unwrap_err();
    assert_eq!(error["data"]["kind"], "not_supported");
    assert!(error["message"].as_str().unwrap().contains("only to: mlx"), "{error}");
    // One model is obvious for Candle, none for both.
    assert_eq!(who(&daemon, json!({ "prompt": "hello", "provider": "candle" })), "candle");
}

#[test]
fn an_engine_that_is_not_here_is_passed_over() {
    let daemon = Start::fake().model(MODEL, |_| {}).run();
    let list = daemon.call("providers.list", json!({})).unwrap();
    let candle = list["providers"].as_array().unwrap().iter().find(|provider| provider["id"] == "candle").unwrap();
    assert_eq!((&candle["kind"], &candle["models"]), (&json!("candle"), &json!([MODEL])));
    assert_eq!(candle["availability"]["reason"], "not_supported_here");
    let error = daemon.call("generate.text", json!({ "prompt": "hello", "provider": "candle" })).unwrap_err();
    assert_eq!(error["data"]["kind"], "not_supported");
    assert!(error["message"].as_str().unwrap().contains("--candle"), "{error}");
    assert_eq!(who(&daemon, json!({ "prompt": "hello", "model": MODEL })), "mlx");
}
