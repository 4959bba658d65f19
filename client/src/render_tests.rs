use protocol::{ModelId, ModelList, Pong, Status, Timings, Unloaded, Usage};
use serde_json::{Value, json};

use super::daemon::Ping;
use super::*;

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn model(id: &str, more: Value) -> Value {
    let mut model = json!({
        "id": id, "name": id, "display_name": id, "size": 1_834_000_000_u64, "type": "local", "provider": "mlx", "source": "library",
        "is_installed": true, "is_loaded": false, "path": "/models/x", "state": "complete",
        "context_length": 32768, "quantization": {"bits": 4, "group_size": 64},
    });
    let more: serde_json::Map<String, Value> = serde_json::from_value(more).expect("an object");
    model.as_object_mut().expect("an object").extend(more);
    model
}

fn residency(state: &str, more: Value) -> Value {
    let mut residency = json!({
        "state": state, "loaded_share": 1.0, "pid": 7, "device": "Apple M3", "memory_bytes": 1_900_000_000_u64,
        "running": 0, "waiting": 0, "keep_alive": 300,
    });
    let more: serde_json::Map<String, Value> = serde_json::from_value(more).expect("an object");
    residency.as_object_mut().expect("an object").extend(more);
    json!({"is_loaded": true, "residency": residency})
}

fn models() -> ModelList {
    let models = json!({"models": [
        model("mlx-community/Llama-3.2-3B-Instruct-4bit", residency("idle", json!({"expires_in_ms": 250_000}))),
        model("mlx-community/Qwen2.5-Coder-14B-Instruct-abliterated-bf16", json!({"quantization": null, "size": 29_500_000_000_u64})),
        model("org/half", json!({"state": "partial", "size": 999_700, "problem": "model.safetensors is missing"})),
        model("org/bad", json!({"state": "broken", "size": 12, "context_length": null, "problem": "config.json: expected `,` at line 3"})),
        model("bare", residency("loading", json!({"loaded_share": 0.404}))),
    ]});
    serde_json::from_value(models).expect("models")
}

fn status() -> Status {
    let status = json!({
        "version": "0.1.0", "protocol": 1, "pid": 4242, "uptime_ms": 11_000_000,
        "socket": "/run/user/1000/talkied/talkied.sock", "models_dir": "/home/me/.local/share/talkie/Models/MLX",
        "connections": 3, "memory_bytes": 23_400_000,
        "residents": [
            model("mlx-community/Llama-3.2-3B-Instruct-4bit", residency("busy", json!({"running": 2, "paused": 1, "waiting": 1, "draft_model": "mlx-community/Llama-3.2-1B"}))),
            model("org/pinned", residency("idle", json!({"keep_alive": "forever", "draft_problem": "org/small: it is not installed"}))),
            model("org/soon", residency("idle", json!({"expires_in_ms": 61_000}))),
        ],
        "requests": [
            {"request_id": "req_17", "trace_id": "memo-8", "provider": "mlx", "model": "org/pinned", "app": "notes", "state": "decode", "age_ms": 4200, "completion_tokens": 96},
            {"request_id": "req_18", "provider": "mlx", "model": "org/pinned", "app": "python3", "priority": "background", "paused": true, "state": "decode", "age_ms": 60_000, "completion_tokens": 7},
            {"request_id": "req_19", "provider": "mlx", "model": "org/pinned", "app": "python3", "priority": "interactive", "position": 2, "state": "waiting", "age_ms": 12, "completion_tokens": 0},
        ],
        "finished": 120, "failed": 3,
    });
    serde_json::from_value(status).expect("a status")
}

#[test]
fn models_as_a_table() {
    insta::assert_snapshot!(plain(&super::models::list(&models(), Some(120))));
}

#[test]
fn models_on_80_columns() {
    insta::assert_snapshot!(plain(&super::models::list(&models(), Some(80))));
}

#[test]
fn models_on_20_columns_keep_their_ids_whole() {
    let text = plain(&super::models::list(&models(), Some(20)));
    for model in models().models {
        assert!(text.lines().any(|line| line == model.id.0), "{} stands alone on a line", model.id);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn no_models() {
    insta::assert_snapshot!(super::models::list(&ModelList { models: vec![] }, None));
}

#[test]
fn a_table_for_a_pipe_has_columns_however_wide() {
    assert_eq!(super::models::list(&models(), None), super::models::list(&models(), Some(1000)));
}

#[test]
fn ps_on_80_and_20_columns() {
    insta::assert_snapshot!("ps_on_80_columns", plain(&super::daemon::ps(&status(), Some(80))));
    insta::assert_snapshot!("ps_on_20_columns", plain(&super::daemon::ps(&status(), Some(20))));
    insta::assert_snapshot!("ps_wide", plain(&super::daemon::ps(&status(), None)));
}

#[test]
fn ps_of_an_idle_daemon() {
    let idle = Status { residents: vec![], requests: vec![], ..status() };
    assert_eq!(super::daemon::ps(&idle, Some(80)), "no models are in memory\n");
}

#[test]
fn status_in_words() {
    insta::assert_snapshot!(plain(&super::daemon::status(&status())));
}

#[test]
fn status_of_another_protocol_says_so() {
    let text = plain(&super::daemon::status(&Status { protocol: 9, memory_bytes: None, ..status() }));
    assert!(text.contains("\nspeaks protocol 9, talkiectl 1\n"), "{text}");
    assert!(text.contains(" – of its own"), "{text}");
}

#[test]
fn what_happened_to_a_model() {
    let list = models();
    let mut text = super::models::loaded(&list.models[0]) + &super::models::imported(&list.models[1]);
    for unloaded in [true, false] {
        text += &super::models::unloaded(&ModelId("org/name".into()), Unloaded { unloaded });
    }
    insta::assert_snapshot!(text);
}

#[test]
fn ping_tells_one_round_trip_or_the_percentiles() {
    let pong = || Pong { version: "0.1.0".into(), protocol: 1, pid: 4242 };
    let many = (1..=200).rev().map(f64::from).collect();
    let text = super::daemon::ping(&Ping::new(pong(), vec![84.6])) + &super::daemon::ping(&Ping::new(pong(), many));
    insta::assert_snapshot!(text);
}

#[test]
fn stats_of_a_cold_and_a_warm_answer() {
    let usage = Usage { prompt_tokens: 17, completion_tokens: 42, ..Usage::default() };
    let again = Usage { cached_tokens: 12, speculated_tokens: 20, ..usage };
    let warm = Timings { first_token_ms: 210.4, decode_tokens_per_s: 45.31, total_ms: 1137.0, ..Timings::default() };
    let cold = Timings { load_ms: 12_345.0, ..warm };
    insta::assert_snapshot!(super::daemon::stats(again, &warm, Some(7)) + &super::daemon::stats(usage, &cold, None));
}

#[test]
fn sizes_and_durations_are_short() {
    let sizes = [0, 999, 1000, 999_499, 999_500, 12_345_678, 99_950_000, 1_834_000_000, 2_000_000_000_000];
    let sizes: Vec<String> = sizes.into_iter().map(bytes).collect();
    assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "999 kB", "1.0 MB", "12.3 MB", "100 MB", "1.8 GB", "2.0 TB"]);
    let times = [0.0, 12.3, 999.6, 9_949.0, 9_950.0, 59_600.0, 61_000.0, 3_600_000.0, 7_500_000.0, 90_000_000.0];
    let times: Vec<String> = times.into_iter().map(duration_ms).collect();
    assert_eq!(times, ["0 ms", "12 ms", "1.0 s", "9.9 s", "10 s", "1 min", "1 min 1 s", "1 h", "2 h 5 min", "1 d 1 h"]);
}

#[test]
fn names_cannot_command_the_terminal() {
    let mut list = models();
    list.models.truncate(1);
    list.models[0].id = ModelId("org/\x1b]0;title\x07".into());
    assert!(super::models::list(&list, None).contains("org/\\u{1b}]0;title\\u{7}"));
    assert_eq!(printable_lines("a\x1b[2J\tb\r\nc\u{9b}m"), "a[2J\tb\ncm");
}
