//! Configs that contradict the tensors beside them, for every architecture: the answer names a tensor, and what each of
//! the two says of it.

use std::fs;
use std::path::Path;

use engine::backend::Backend;
use engine::message::{Failure, FailureKind, Load};
use serde_json::Value;
use talkied_mlx::Mlx;
use tempfile::TempDir;

use crate::reference;

/// What decides shapes, where an architecture has it.
const SHAPES: [&str; 7] = [
    "hidden_size",
    "intermediate_size",
    "block_ff_dim",
    "moe_intermediate_size",
    "num_attention_heads",
    "num_local_experts",
    "vocab_size",
];

/// Of layers without experts, of which the row has none.
const UNUSED: (&str, &str) = ("qwen3_moe", "intermediate_size");

#[test]
fn other_shapes_than_the_configs_are_named_with_both() {
    for (architecture, folder) in first_rows() {
        let mut tried = 0;
        for key in SHAPES.into_iter().filter(|key| (architecture.as_str(), *key) != UNUSED) {
            let Some(failure) = changed(&folder, key, |number| 2 * number) else { continue };
            let words = ["has shape [", ", but [", "] follows from config.json"];
            check(&failure, &words, &format!("{architecture}, {key}"));
            tried += 1;
        }
        assert!(tried >= 3, "only {tried} numbers of {architecture} decide shapes");
    }
}

#[test]
fn more_layers_than_tensors_and_fewer_are_told_by_a_tensor() {
    for (architecture, folder) in first_rows() {
        let config = config(&folder);
        if ["layer_types", "full_attn_idxs"].iter().any(|list| config.get(list).is_some_and(|list| !list.is_null())) {
            // The list of layers is contradicted first; `models_tests.rs` has that.
            continue;
        }
        let more = changed(&folder, "num_hidden_layers", |number| number + 1).expect("every model has layers");
        check(&more, &["no weight file has the tensor", "layers."], &architecture);
        let fewer = changed(&folder, "num_hidden_layers", |number| number - 1).expect("every model has layers");
        check(&fewer, &["tensors belong to no layer", "layers."], &architecture);
    }
}

fn check(failure: &Failure, words: &[&str], of: &str) {
    assert_eq!(failure.kind, FailureKind::ModelBroken, "{of}: {failure}");
    for word in words {
        assert!(failure.message.contains(word), "{of}: {failure} does not say {word:?}");
    }
}

/// The first row of each architecture, and its checkpoint.
fn first_rows() -> Vec<(String, std::path::PathBuf)> {
    let rows = reference::rows();
    let folder = reference::made(&rows);
    let mut first: Vec<(String, _)> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        if first.last().is_none_or(|(architecture, _)| *architecture != row.architecture) {
            first.push((row.architecture.clone(), folder.join(place.to_string())));
        }
    }
    first
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

/// Why the checkpoint is refused with another number under `key`; `None` where its config has none there.
fn changed(folder: &Path, key: &str, change: impl Fn(i64) -> i64) -> Option<Failure> {
    let mut config = config(folder);
    let part = if config[key].is_i64() { &mut config } else { config.get_mut("text_config")? };
    let number = change(part.get(key)?.as_i64()?);
    part[key] = number.into();
    let other = TempDir::new().unwrap();
    fs::write(other.path().join("config.json"), config.to_string()).unwrap();
    fs::copy(folder.join("model.safetensors"), other.path().join("model.safetensors")).unwrap();
    let load = Load::new(other.path().to_owned());
    Some(Mlx::new().load(&load, &mut |_, _| {}).expect_err(key))
}
