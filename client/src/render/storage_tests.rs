use protocol::ModelId;
use serde_json::json;

use super::*;

fn storage() -> Storage {
    let model = |id: &str, source: &str, size: u64, own: u64| json!({"model": id, "source": source, "path": "/fast/disk/models", "size": size, "own_bytes": own});
    let storage = json!({
        "models": [
            model("mlx-community/Qwen2.5-7B-Instruct-4bit", "hugging_face_cache", 4_300_000_000, 4_300_000_000),
            model("org/shared", "folder", 1_900_000_000, 0),
            model("local/notes", "library", 90_000_000, 90_000_000),
        ],
        "pulls": [{"model": "org/half", "size": 700_000_000}],
        "used_bytes": 6_990_000_000_u64, "free_bytes": 120_000_000_000_u64, "capacity_bytes": 500_000_000_000_u64,
        "path": "/home/me/.local/share/talkie/Models/MLX",
    });
    serde_json::from_value(storage).expect("storage")
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn usage_on_80_and_20_columns() {
    insta::assert_snapshot!("du_on_80_columns", plain(&usage(&storage(), Some(80))));
    insta::assert_snapshot!("du_on_20_columns", plain(&usage(&storage(), Some(20))));
}

#[test]
fn usage_of_nothing() {
    let nothing = Storage { models: vec![], pulls: vec![], used_bytes: 0, ..storage() };
    let text = usage(&nothing, None);
    assert_eq!(text, "0 B used, 120 GB of 500 GB free in /home/me/.local/share/talkie/Models/MLX\n");
}

fn verified_model(states: &[&str], ok: bool, against: &str) -> Verified {
    let files = states.iter().map(|state| json!({"path": format!("{state}.json"), "size": 1200, "state": state}));
    let files: Vec<_> = files.collect();
    serde_json::from_value(json!({"model": "org/x", "ok": ok, "against": against, "files": files})).expect("a look")
}

#[test]
fn every_state_of_a_file_is_told() {
    let all = verified_model(&["ok", "changed", "missing", "unreadable", "unknown"], false, "manifest");
    insta::assert_snapshot!("verified_on_80_columns", plain(&verified(&all, Some(80))));
    insta::assert_snapshot!("verified_on_20_columns", plain(&verified(&all, Some(20))));
}

#[test]
fn a_whole_model_is_called_whole() {
    for (against, words) in [
        ("manifest", "\norg/x is whole, as its manifest says\n"),
        ("hugging_face_cache", "\norg/x is whole, as the Hugging Face cache names it\n"),
    ] {
        let text = plain(&verified(&verified_model(&["ok"], true, against), None));
        assert!(text.ends_with(words), "{text}");
    }
}

#[test]
fn a_removal_tells_what_the_disk_has_back() {
    let removed = |freed_bytes| removed(&Deleted { model: ModelId("org/x".into()), freed_bytes });
    assert_eq!(removed(1_834_000_000), "org/x is removed: 1.8 GB freed\n");
    assert_eq!(removed(0), "org/x is removed; its files are elsewhere too, so nothing is freed\n");
}
