use serde_json::{Value, json};

use super::*;

fn pull(state: &str, more: Value) -> Pull {
    let mut pull =
        json!({"model": "org/x", "state": state, "done_bytes": 24, "total_bytes": 100, "refetched_bytes": 0});
    let more: serde_json::Map<String, Value> = serde_json::from_value(more).expect("an object");
    pull.as_object_mut().expect("an object").extend(more);
    serde_json::from_value(pull).expect("a pull")
}

#[test]
fn a_line_is_due_at_a_change_and_every_few_seconds() {
    let mut lines = Lines::default();
    let begun = Instant::now();
    let mut at = |state, more, ms| lines.line(&pull(state, more), begun + Duration::from_millis(ms));
    assert_eq!(at("planning", json!({}), 0).as_deref(), Some("org/x: asking the hub\n"));
    assert_eq!(at("planning", json!({}), 100), None);
    let going = json!({"bytes_per_second": 12, "time_left_ms": 6000});
    let words = Some("org/x: 24 % of 100 B, 12 B/s, 6.0 s left\n");
    assert_eq!(at("downloading", going.clone(), 200).as_deref(), words);
    assert_eq!(at("downloading", going.clone(), 5199), None);
    assert_eq!(at("downloading", going.clone(), 5200).as_deref(), words);
    let error =
        json!({"retry_after_ms": 2000, "error": {"kind": "hub_unavailable", "message": "the hub answered 503"}});
    let words = Some("org/x: 24 % of 100 B, the hub answered 503; again in 2.0 s\n");
    assert_eq!(at("downloading", error.clone(), 5300).as_deref(), words);
    assert_eq!(at("downloading", error, 5400), None);
    assert!(at("downloading", going, 5500).is_some(), "it goes on again");
}

#[test]
fn the_end_is_left_to_the_command() {
    for state in ["done", "failed", "paused", "cancelled"] {
        assert_eq!(Lines::default().line(&pull(state, json!({})), Instant::now()), None);
    }
}

#[test]
fn only_files_under_way_have_a_bar() {
    let file = |path: String, done: u64| json!({"path": path, "done_bytes": done, "total_bytes": 9, "verified": false});
    let mut files = vec![file("whole".into(), 9), file("not begun".into(), 0)];
    files.extend((0..20).map(|n| file(format!("{n}"), 4)));
    let pull = pull("downloading", json!({"files": files}));
    let moving: Vec<&str> = moving(&pull).into_iter().map(|file| &*file.path).collect();
    assert_eq!(moving, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn bars_come_and_go_with_their_files() {
    let file = |path: &str, done: u64| json!({"path": path, "done_bytes": done, "total_bytes": 9, "verified": false});
    let mut bars = Bars::on(ProgressDrawTarget::hidden(), 80);
    bars.show(&pull("downloading", json!({"files": [file("a", 4), file("b", 0)]})));
    assert_eq!(bars.files.keys().collect::<Vec<_>>(), ["a"]);
    bars.show(&pull("downloading", json!({"files": [file("a", 9), file("b", 1)]})));
    assert_eq!(bars.files.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!((bars.files["b"].position(), bars.files["b"].length()), (1, Some(9)));
    assert_eq!((bars.total.position(), bars.total.length()), (24, Some(100)));
    bars.show(&pull("verifying", json!({"total_bytes": 0, "files": []})));
    assert!(bars.files.is_empty());
    assert_eq!(bars.total.message(), "verifying");
}

#[test]
fn names_of_the_hub_cannot_command_the_terminal() {
    for columns in [20, 80] {
        let file = json!({"path": "a\u{1b}[2J", "done_bytes": 4, "total_bytes": 9, "verified": false});
        let mut bars = Bars::on(ProgressDrawTarget::hidden(), columns);
        let error = json!({"kind": "internal", "message": "bad\u{1b}]0;title\u{7}"});
        bars.show(&pull("downloading", json!({"model": "org/\u{7}", "files": [file], "error": error})));
        let shown = |bar: &ProgressBar| bar.prefix() + &bar.message();
        let text: String = bars.files.values().chain([&bars.total]).map(shown).collect();
        assert!(text.contains("a\\u{1b}[2J") && text.contains("title"), "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
