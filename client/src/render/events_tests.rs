use serde_json::{Value, json};

use super::*;

fn told(changes: &[Value]) -> String {
    let mut teller = Teller::default();
    let read = |change: &Value| serde_json::from_value::<ModelChange>(change.clone()).expect("a change");
    changes.iter().map(|change| teller.lines(&read(change), "17:04:05")).collect()
}

fn model(id: &str, more: &Value) -> Value {
    let mut model = json!({
        "id": id, "name": id, "display_name": id, "size": 1_834_000_000_u64, "type": "local", "provider": "mlx",
        "source": "library", "is_installed": true, "is_loaded": false, "path": "/m", "state": "complete",
    });
    model.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    model
}

#[test]
fn every_change_is_a_line_in_words() {
    let pull = |state: &str, done: u64| {
        json!({"type": "pull", "pull": {"model": "org/y", "state": state, "done_bytes": done, "total_bytes": 1000,
            "refetched_bytes": 0}})
    };
    let loading = |done: u64| json!({"type": "loading", "model": "org/x", "done_bytes": done, "total_bytes": 1000});
    let broken = model("org/\u{1b}[2J", &json!({"state": "broken", "problem": "config.json is missing"}));
    let error = json!({"kind": "engine_lost", "message": "signal 9"});
    insta::assert_snapshot!(told(&[
        json!({"type": "current", "models": [model("org/x", &json!({})), broken], "pulls": []}),
        json!({"type": "current", "models": [], "pulls": []}),
        json!({"type": "added", "model": model("org/x", &json!({}))}),
        json!({"type": "changed", "model": model("org/x", &json!({"state": "partial", "problem": "half"}))}),
        loading(0),
        loading(50),
        loading(500),
        loading(1000),
        json!({"type": "loaded", "model": "org/x"}),
        json!({"type": "unloaded", "model": "org/x", "reason": "idle"}),
        json!({"type": "unloaded", "model": "org/x", "reason": "engine_lost", "error": error}),
        json!({"type": "removed", "model": "org/x"}),
        pull("planning", 0),
        pull("downloading", 0),
        pull("downloading", 99),
        pull("downloading", 100),
        pull("done", 1000),
    ]));
}
