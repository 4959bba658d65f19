use serde_json::{Value, json};

use super::*;

fn pull(model: &str, state: &str, more: Value) -> Pull {
    let mut pull = json!({"model": model, "state": state, "done_bytes": 0, "refetched_bytes": 0});
    let more: serde_json::Map<String, Value> = serde_json::from_value(more).expect("an object");
    pull.as_object_mut().expect("an object").extend(more);
    serde_json::from_value(pull).expect("a pull")
}

fn downloading() -> Pull {
    let more = json!({
        "done_bytes": 1_234_000_000_u64, "total_bytes": 4_900_000_000_u64, "bytes_per_second": 45_100_000,
        "time_left_ms": 81_300,
    });
    pull("mlx-community/Llama-3.2-3B-Instruct-4bit", "downloading", more)
}

fn pulls() -> PullList {
    let sizes = json!({"done_bytes": 500, "total_bytes": 4000});
    let failed = json!({"kind": "disk_full", "message": "needs 4.9 GB, 1.0 GB are free"});
    let flaky = json!({"kind": "hub_unavailable", "message": "the hub answered 503"});
    PullList {
        pulls: vec![
            downloading(),
            pull("org/next", "queued", json!({})),
            pull("org/asked", "planning", json!({"error": flaky, "retry_after_ms": 8000})),
            pull("org/paused", "paused", sizes.clone()),
            pull("org/failed", "failed", json!({"total_bytes": 4_900_000_000_u64, "error": failed})),
            pull("org/almost", "verifying", sizes.clone()),
            pull("org/almost-there", "installing", sizes),
        ],
    }
}

fn plain(width: Option<usize>) -> String {
    anstream::adapter::strip_str(&list(&pulls(), width)).to_string()
}

#[test]
fn pulls_on_100_and_20_columns() {
    insta::assert_snapshot!("pulls_on_100_columns", plain(Some(100)));
    insta::assert_snapshot!("pulls_on_20_columns", plain(Some(20)));
    assert_eq!(plain(None), plain(Some(100)));
}

#[test]
fn no_pulls() {
    let text = list(&PullList { pulls: vec![] }, None);
    assert_eq!(text, "nothing is being downloaded; `talkiectl pull MODEL` begins\n");
}

#[test]
fn progress_tells_what_is_known() {
    assert_eq!(progress(&downloading()), "25 % of 4.9 GB, 45.1 MB/s, 1 min 21 s left");
    let unknown = Pull { total_bytes: None, bytes_per_second: None, time_left_ms: None, ..downloading() };
    assert_eq!(progress(&unknown), "downloading");
    assert_eq!(progress(&Pull { total_bytes: Some(0), ..unknown }), "100 % of 0 B", "never above, never divided by 0");
}

#[test]
fn what_happened_to_a_pull() {
    let states = ["queued", "downloading", "paused", "cancelled", "done", "failed"];
    let text: String =
        states.map(|state| told(&pull("org/x", state, json!({"done_bytes": 500, "total_bytes": 4000})))).concat();
    insta::assert_snapshot!(text + &installed(&Pull { refetched_bytes: 3_000_000, ..downloading() }));
}
