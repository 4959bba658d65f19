//! Weight files that are whole, and every way in which they are not.

use std::fs;

use engine::backend::Backend;
use engine::message::{Failure, FailureKind, Load};
use mlx_rs::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Mlx;
use crate::checkpoint::Checkpoint;

fn load(folder: &TempDir) -> Result<Mlx, Failure> {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).map(|_| mlx)
}

fn check_broken(folder: &TempDir, words: &[&str]) {
    let failure = load(folder).map(|_| ()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ModelBroken, "{failure}");
    for word in words {
        assert!(failure.message.contains(word), "{failure} does not say {word:?}");
    }
}

fn check_bytes(damage: impl FnOnce(&mut Vec<u8>), words: &[&str]) {
    let folder = Checkpoint::llama().write();
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    check_broken(&folder, words);
}

/// The checkpoint in two files, with an index of them.
fn sharded() -> TempDir {
    let mut first = Checkpoint::llama();
    let mut second = Checkpoint::llama();
    first.tensors.retain(|name, _| !name.contains("mlp"));
    second.tensors.retain(|name, _| name.contains("mlp"));
    let folder = TempDir::new().unwrap();
    let mut files = serde_json::Map::new();
    for (checkpoint, file) in [(first, "model-1-of-2.safetensors"), (second, "model-2-of-2.safetensors")] {
        checkpoint.write_to(folder.path(), file);
        files.extend(checkpoint.tensors.keys().map(|name| (name.clone(), json!(file))));
    }
    write_index(&folder, &json!({ "weight_map": files }));
    folder
}

fn write_index(folder: &TempDir, index: &Value) {
    fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn a_file_cut_short_is_named_with_its_lengths() {
    check_bytes(|bytes| bytes.truncate(3), &["model.safetensors", "truncated after 3 of 8"]);
    check_bytes(|bytes| bytes.truncate(100), &["model.safetensors", "truncated after 100 of"]);
    check_bytes(|bytes| bytes.truncate(bytes.len() - 1), &["model.safetensors", "truncated after", "fetch"]);
    check_bytes(|bytes| bytes.push(0), &["model.safetensors", "tensors end after"]);
}

#[test]
fn headers_that_lie_are_refused() {
    check_bytes(|bytes| bytes[..8].fill(0xff), &["model.safetensors", "header of 18446744073709551615 bytes"]);
    check_bytes(|bytes| bytes[8] = b'x', &["model.safetensors", "damaged header"]);
    // The first tensor of another shape than its bytes, and one that starts in another.
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes[8..]).find(from).unwrap() + 8;
            bytes[text..text + to.len()].copy_from_slice(to.as_bytes());
        }
    };
    check_bytes(replace("[64]", "[63]"), &["model.safetensors", "damaged header"]);
    check_bytes(replace("\"data_offsets\":[0", "\"data_offsets\":[4"), &["model.safetensors", "damaged header"]);
}

#[test]
fn a_missing_tensor_is_named() {
    let mut checkpoint = Checkpoint::llama();
    checkpoint.tensors.remove("model.layers.1.mlp.up_proj.weight").unwrap();
    check_broken(&checkpoint.write(), &["no weight file has the tensor model.layers.1.mlp.up_proj.weight"]);
}

#[test]
fn surplus_tensors_are_named() {
    let mut checkpoint = Checkpoint::llama();
    let tensor = checkpoint.tensors["model.norm.weight"].clone();
    checkpoint.tensors.insert("model.layers.0.self_attn.q_proj.bias".into(), tensor.clone());
    checkpoint.tensors.insert("visual.weight".into(), tensor);
    check_broken(&checkpoint.write(), &["2 tensors", "model.layers.0.self_attn.q_proj.bias, visual.weight"]);
}

#[test]
fn precomputed_wavelengths_are_not_surplus() {
    let mut checkpoint = Checkpoint::llama();
    let tensor = checkpoint.tensors["model.norm.weight"].clone();
    checkpoint.tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), tensor);
    load(&checkpoint.write()).unwrap();
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both() {
    let checkpoint = Checkpoint::llama().with("intermediate_size", json!(96));
    check_broken(&checkpoint.write(), &["mlp.gate_proj.weight", "[128, 64]", "[96, 64]"]);
}

#[test]
fn quantized_tensors_that_do_not_fit_each_other_are_refused() {
    let mut checkpoint = Checkpoint::llama().quantized(4);
    let scales = checkpoint.tensors["model.embed_tokens.scales"].clone();
    checkpoint.tensors.insert("lm_head.biases".into(), scales.reshape(&[48, 4]).unwrap());
    check_broken(&checkpoint.write(), &["lm_head.biases", "[48, 4]"]);
    let mut checkpoint = Checkpoint::llama().quantized(4);
    checkpoint.tensors.insert("lm_head.scales".into(), scales.reshape(&[64, 3]).unwrap());
    check_broken(&checkpoint.write(), &["lm_head", "3 scales in a row, which do not fit 64 numbers"]);
}

#[test]
fn what_the_config_says_of_a_layer_must_be_so() {
    let cases = [
        ("lm_head", json!({"bits": 8}), &["lm_head is 8 bits", "affine with 4 bits in groups of 32"][..]),
        ("lm_head", json!({"bits": 4, "group_size": 64}), &["lm_head is 4 bits, groups of 64", "in groups of 32"]),
        ("lm_head", json!({"mode": "mxfp4"}), &["lm_head is mxfp4", "affine with 4 bits"]),
        ("lm_head", json!(false), &["lm_head is plain", "affine with 4 bits"]),
        ("model.norm.weight", json!({"bits": 4}), &["says how model.norm.weight is quantized", "no such layer"]),
        ("model.layers.2.mlp.up_proj", json!({"bits": 4}), &["model.layers.2.mlp.up_proj", "no such layer"]),
        ("model.layers.2.mlp.up_proj", json!(false), &["model.layers.2.mlp.up_proj", "no such layer"]),
    ];
    for (path, said, words) in cases {
        let mut checkpoint = Checkpoint::llama().quantized(4);
        checkpoint.config["quantization"][path] = said;
        check_broken(&checkpoint.write(), words);
    }
    let plain = Checkpoint::llama().with("quantization", json!({"lm_head": {"bits": 4, "group_size": 32}}));
    check_broken(&plain.write(), &["lm_head is 4 bits, groups of 32", "no file has lm_head.scales"]);
}

#[test]
fn what_the_config_says_of_a_layer_may_be_so() {
    let mut checkpoint = Checkpoint::llama().quantized(4);
    // The general numbers are not looked at: exports have been wrong there.
    checkpoint.config["quantization"] = json!({
        "bits": 8, "group_size": 64, "lm_head": {"bits": 4, "group_size": 32, "mode": "affine"}, "model.norm": false,
        "model.embed_tokens": true
    });
    load(&checkpoint.write()).unwrap();
}

#[test]
fn numbers_of_the_wrong_kind_are_refused_by_name() {
    let cases =
        [("model.norm.weight", Dtype::Int32), ("lm_head.weight", Dtype::Uint16), ("lm_head.scales", Dtype::Uint8)];
    for (name, dtype) in cases {
        let mut checkpoint = Checkpoint::llama().quantized(4);
        let tensor = checkpoint.tensors[name].as_dtype(dtype).unwrap();
        checkpoint.tensors.insert(name.into(), tensor);
        let failure = load(&checkpoint.write()).map(|_| ()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotSupported);
        assert!(failure.message.contains(name), "{failure}");
    }
}

#[test]
fn shards_are_one_model() {
    let whole = load(&Checkpoint::llama().write()).unwrap();
    let shards = load(&sharded()).unwrap();
    assert_eq!(shards.logits(&[1, 2, 3]).unwrap(), whole.logits(&[1, 2, 3]).unwrap());
}

#[test]
fn a_shard_that_was_not_fetched_is_named() {
    let folder = sharded();
    fs::remove_file(folder.path().join("model-2-of-2.safetensors")).unwrap();
    check_broken(&folder, &["model-2-of-2.safetensors"]);
}

#[test]
fn an_index_cannot_lead_out_of_the_folder() {
    for name in ["../model.safetensors", "/etc/passwd", "..", ""] {
        let folder = Checkpoint::llama().write();
        write_index(&folder, &json!({"weight_map": {"lm_head.weight": name}}));
        check_broken(&folder, &["model.safetensors.index.json", "is not the name of a file"]);
    }
}

#[test]
fn a_tensor_in_two_files_is_refused() {
    let folder = Checkpoint::llama().write();
    Checkpoint::llama().write_to(folder.path(), "model-2.safetensors");
    check_broken(&folder, &["is also in another file"]);
}

#[test]
fn the_older_name_of_the_weight_file_is_known() {
    let folder = TempDir::new().unwrap();
    Checkpoint::llama().write_to(folder.path(), "weights.00.safetensors");
    load(&folder).unwrap();
}

#[test]
fn a_folder_without_weights_is_refused() {
    let folder = Checkpoint::llama().write();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    check_broken(&folder, &["no weights"]);
}

#[test]
fn progress_grows_to_the_length_of_the_files() {
    let folder = sharded();
    let bytes = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
    let total = bytes("model-1-of-2.safetensors") + bytes("model-2-of-2.safetensors");
    let mut seen = Vec::new();
    let load = Load::new(folder.path().to_owned());
    Mlx::new().load(&load, &mut |done, total| seen.push((done, total))).unwrap();
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.len() > 10, "{seen:?}");
    assert_eq!((seen[0], seen[seen.len() - 1]), ((0, total), (total, total)));
}
