use serde_json::{Value, json};

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn small(path: &str, size: u64) -> Value {
    json!({ "rfilename": path, "size": size, "blobId": COMMIT })
}

fn large(path: &str, size: u64) -> Value {
    json!({ "rfilename": path, "size": 134, "blobId": COMMIT,
        "lfs": { "sha256": "AB".repeat(32), "size": size, "pointerSize": 134 } })
}

fn planned(siblings: &[Value]) -> Result<Plan, PullError> {
    let info = serde_json::from_value(json!({ "id": "org/name", "sha": COMMIT, "siblings": siblings })).unwrap();
    plan(&ModelId("org/name".into()), &info)
}

fn whole() -> Vec<Value> {
    vec![large("model.safetensors", 1000), small("tokenizer.json", 50), small("config.json", 60)]
}

/// Adds a file to a whole repository and expects a refusal with these words.
fn refused(file: Value, words: &str) {
    let mut files = whole();
    files.push(file);
    let error = planned(&files).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn only_what_is_needed_is_planned_with_config_first() {
    let mut files = whole();
    for path in [
        ".gitattributes",
        "pytorch_model.bin",
        "original/params.json",
        "onnx/model.onnx",
        "a.png",
        "consolidated.safetensors",
    ] {
        files.push(small(path, 1));
    }
    for path in
        ["chat_template.jinja", "1_Pooling/config.json", "merges.txt", "LICENSE", "model.safetensors.index.json"]
    {
        files.push(small(path, 7));
    }
    let plan = planned(&files).unwrap();
    let names: Vec<&str> = plan.files.iter().map(|file| file.path.as_str()).collect();
    let expected = [
        "config.json",
        "1_Pooling/config.json",
        "LICENSE",
        "chat_template.jinja",
        "merges.txt",
        "model.safetensors.index.json",
        "tokenizer.json",
        "model.safetensors",
    ];
    assert_eq!(names, expected);
    assert_eq!(plan.commit, COMMIT);
    let weights = plan.files.last().unwrap();
    assert_eq!((weights.size, &weights.hash), (1000, &Hash::Sha256("ab".repeat(32))));
    assert_eq!(plan.files[0].hash, Hash::GitSha1(COMMIT.into()));
}

#[test]
fn what_nothing_here_runs_is_refused_before_a_byte_is_fetched() {
    let with = |path: &str| vec![small("config.json", 1), small("tokenizer.json", 1), large(path, 9)];
    for (files, words) in [
        (with("pytorch_model.bin"), "pickled"),
        (with("model-q4.gguf"), "import"),
        (with("README.md"), "no model*.safetensors"),
        (vec![], "no model*.safetensors"),
        (vec![large("model.safetensors", 9), small("tokenizer.json", 1)], "no config.json"),
        (vec![large("model.safetensors", 9), small("config.json", 1)], "no tokenizer.json"),
    ] {
        let error = planned(&files).unwrap_err();
        assert!(matches!(error, PullError::NotSupported { .. }) && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for path in
        ["../evil.json", "a/../../evil.json", "/etc/passwd", "a\\..\\b.json", "a//b.json", "nul\0.json", "", "./a.json"]
    {
        refused(small(path, 1), "could lead elsewhere");
    }
}

#[test]
fn files_that_nothing_is_known_of_are_refused() {
    refused(json!({ "rfilename": "extra.json" }), "how long extra.json is");
    refused(json!({ "rfilename": "extra.json", "size": 1, "blobId": "../x" }), "how long extra.json is");
    refused(json!({ "rfilename": "model-2.safetensors", "size": 1, "lfs": { "sha256": "ab", "size": 1 } }), "hash");
    refused(small("extra.json", 1 << 40), "too many for what it is");
    refused(large("model-2.safetensors", u64::MAX), "longer than any disk");
    let info = Info { sha: "main".into(), siblings: Vec::new() };
    assert!(plan(&ModelId("a".into()), &info).unwrap_err().to_string().contains("commit"));
}
