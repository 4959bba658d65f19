use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::json;

use super::*;

/// A whole model, in a folder that lasts as long as the first value.
fn whole() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("org_model");
    fs::create_dir(&folder).unwrap();
    let config = json!({
        "model_type": "llama",
        "max_position_embeddings": 8192,
        "quantization": {"group_size": 64, "bits": 4},
        "something_else": {"deep": [1, 2, 3]},
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("model.safetensors"), safetensors(100)).unwrap();
    fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    (root, folder)
}

/// A file with one tensor of so many bytes.
fn safetensors(bytes: u64) -> Vec<u8> {
    let header = json!({
        "__metadata__": {"format": "mlx"},
        "a.weight": {"dtype": "U8", "shape": [bytes], "data_offsets": [0, bytes]},
    });
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes as usize, 7);
    file
}

/// Damages a whole model and returns its condition.
fn after(damage: impl FnOnce(&Path)) -> Condition {
    let (_root, folder) = whole();
    damage(&folder);
    inspect(&folder).condition
}

fn partial(part: &str, damage: impl FnOnce(&Path)) {
    match after(damage) {
        Condition::Partial(problem) if problem.contains(part) => {}
        other => panic!("not partial with {part:?}: {other:?}"),
    }
}

fn broken(part: &str, damage: impl FnOnce(&Path)) {
    match after(damage) {
        Condition::Broken(problem) if problem.contains(part) => {}
        other => panic!("not broken with {part:?}: {other:?}"),
    }
}

fn not_supported(part: &str, damage: impl FnOnce(&Path)) {
    match after(damage) {
        Condition::NotSupported(problem) if problem.contains(part) => {}
        other => panic!("not refused with {part:?}: {other:?}"),
    }
}

fn config(folder: &Path, text: &str) {
    fs::write(folder.join("config.json"), text).unwrap();
}

#[test]
fn a_whole_folder_is_complete_and_its_facts_are_told() {
    let (_root, folder) = whole();
    fs::create_dir(folder.join("original")).unwrap();
    fs::write(folder.join("original/huge.bin"), [0; 5000]).unwrap();
    let found = inspect(&folder);
    assert_eq!(found.condition, Condition::Complete);
    assert_eq!(found.architecture.as_deref(), Some("llama"));
    assert_eq!(found.context_length, Some(8192));
    assert_eq!(found.quantization, Some(Quantization { bits: 4, group_size: 64 }));
    let length = |name: &str| fs::metadata(folder.join(name)).unwrap().len();
    assert_eq!(found.weight_bytes, length("model.safetensors"));
    assert_eq!(found.size, found.weight_bytes + length("config.json") + length("tokenizer.json"));
}

#[test]
fn the_configuration_is_judged() {
    partial("config.json is missing", |folder| fs::remove_file(folder.join("config.json")).unwrap());
    broken("config.json is not a JSON object", |folder| config(folder, "{\"model_type\": \"lla"));
    broken("config.json is not a JSON object", |folder| config(folder, "\u{0}\u{0}\u{0}"));
    broken("config.json is not a JSON object", |folder| config(folder, "7"));
    broken("config.json is not a JSON object", |folder| config(folder, &"[".repeat(100_000)));
    broken("config.json cannot be read (has 2000000 bytes", |folder| config(folder, &" ".repeat(2_000_000)));
    broken("config.json has no model_type", |folder| config(folder, "{}"));
    broken("config.json has no model_type", |folder| config(folder, r#"{"model_type": ["llama"]}"#));
    let known = format!("choose a model of {}", engine::ARCHITECTURES.join(", "));
    not_supported(&known, |folder| config(folder, r#"{"model_type": "mamba"}"#));
}

#[test]
fn quantization_that_nothing_reads_is_told() {
    let config =
        |tail: &'static str| move |folder: &Path| config(folder, &format!(r#"{{"model_type": "llama", {tail}}}"#));
    broken("lacks bits or group_size", config(r#""quantization": {"bits": 4}"#));
    broken("lacks bits or group_size", config(r#""quantization": {"bits": -4, "group_size": 64}"#));
    broken("lacks bits or group_size", config(r#""quantization": "4bit""#));
    not_supported(
        "packed by \"awq\"",
        config(r#""quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}"#),
    );
    assert_eq!(after(config(r#""quantization": null"#)), Condition::Complete);
    assert_eq!(after(config(r#""quantization_config": {"bits": 8, "group_size": 32}"#)), Condition::Complete);
    assert_eq!(after(config(r#""quantization_config": {"quant_method": "mxfp4"}"#)), Condition::Complete);
}

#[test]
fn weights_are_measured_against_their_header() {
    let weights = |bytes: Vec<u8>| move |folder: &Path| fs::write(folder.join("model.safetensors"), bytes).unwrap();
    let file = safetensors(1000);
    let length = file.len();
    partial("there is no model*.safetensors", |folder| fs::remove_file(folder.join("model.safetensors")).unwrap());
    partial("model.safetensors is cut short, with 0 of 8 bytes", weights(vec![]));
    partial("model.safetensors is cut short, with 50 of", weights(file[..50].to_vec()));
    let sizes = format!("model.safetensors is cut short, with {} of {length} bytes", length - 1);
    partial(&sizes, weights(file[..length - 1].to_vec()));
    let header = r#"{"b": {"data_offsets": [1, 9]}, "a": {"data_offsets": [0, 1]}}"#;
    let backwards = [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &[7; 5]].concat();
    partial(&format!("with {} of {} bytes", header.len() + 13, header.len() + 17), weights(backwards));
    let sizes = format!("model.safetensors has {} bytes where its header accounts for {length}", length + 1);
    broken(&sizes, weights([file.as_slice(), &[0]].concat()));
    broken("model.safetensors has no valid header", weights([2_u64.to_le_bytes().as_slice(), b"[]"].concat()));
    let header = r#"{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 18446744073709551615]}}"#;
    let endless = [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes()].concat();
    broken("tensors past the end of any file", weights(endless));
    broken("claims a header of", weights(vec![0xff; 100]));
}

#[test]
fn every_shard_of_the_index_must_be_there() {
    let index = |text: String| move |folder: &Path| fs::write(folder.join(INDEX), text).unwrap();
    let map = |shard: &str| json!({"weight_map": {"a": "model.safetensors", "b": shard}}).to_string();
    assert_eq!(after(index(map("model.safetensors"))), Condition::Complete);
    partial("model-00002-of-00002.safetensors is missing", index(map("model-00002-of-00002.safetensors")));
    broken("names \"model/../../x.safetensors\"", index(map("model/../../x.safetensors")));
    broken("names \"config.json\"", index(map("config.json")));
    broken("does not map tensors to files", index(r#"{"weight_map": 3}"#.into()));
    broken("cannot be read (has", index(" ".repeat(33 << 20)));
}

#[test]
fn every_shard_is_measured() {
    partial("model-00002-of-00002.safetensors is cut short", |folder| {
        fs::write(folder.join("model-00002-of-00002.safetensors"), &safetensors(1000)[..500]).unwrap();
    });
    partial("weights.01.safetensors is cut short", |folder| {
        fs::write(folder.join("weights.01.safetensors"), &safetensors(1000)[..500]).unwrap();
    });
}

#[test]
fn the_tokenizer_must_be_there() {
    partial("tokenizer.json is missing", |folder| fs::remove_file(folder.join("tokenizer.json")).unwrap());
    partial("tokenizer.json is empty", |folder| fs::write(folder.join("tokenizer.json"), "").unwrap());
}

#[test]
fn a_folder_of_links_as_a_hub_keeps_them_is_complete() {
    let (root, folder) = whole();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let blob = root.path().join(format!("blob-{name}"));
        fs::rename(folder.join(name), &blob).unwrap();
        symlink(blob, folder.join(name)).unwrap();
    }
    symlink(&folder, folder.join("itself")).unwrap();
    assert_eq!(inspect(&folder).condition, Condition::Complete);
}

#[test]
fn a_pipe_in_place_of_a_file_does_not_hold_the_scan_up() {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        partial("", |folder| {
            fs::remove_file(folder.join(name)).unwrap();
            let made = std::process::Command::new("mkfifo").arg(folder.join(name)).status().unwrap();
            assert!(made.success());
        });
    }
}

#[test]
fn weights_are_not_read() {
    // Eight terabytes, nearly all of them a hole.
    let bytes = 8 << 40;
    let condition = after(|folder| {
        let header = format!(r#"{{"a": {{"dtype": "U8", "shape": [{bytes}], "data_offsets": [0, {bytes}]}}}}"#);
        let start = [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes()].concat();
        fs::write(folder.join("model.safetensors"), &start).unwrap();
        let file = fs::File::options().write(true).open(folder.join("model.safetensors")).unwrap();
        file.set_len(start.len() as u64 + bytes).unwrap();
    });
    assert_eq!(condition, Condition::Complete);
}
