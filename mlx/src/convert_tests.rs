//! What the comparison with mlx-lm does not reach: several files, refusals, cancelling, the small files beside weights.

use std::fs;
use std::path::Path;

use engine::backend::Backend;
use engine::message::{Load, Pooling};
use mlx_rs::{Array, random};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::Mlx;
use crate::checkpoint::Checkpoint;

fn options(from: &Path, to: &Path, bits: Option<u32>) -> Options {
    Options { from: from.to_owned(), to: to.to_owned(), bits, group_size: 32, dtype: None }
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn loaded(folder: &Path) -> Mlx {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.to_owned()), &mut |_, _| {}).unwrap();
    mlx
}

fn logits(folder: &Path) -> Vec<f32> {
    loaded(folder).logits(&[3, 1, 4, 1, 5]).unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn weights_in_several_files_are_those_in_one() {
    let (source, out) = (Checkpoint::llama().write(), TempDir::new().unwrap());
    let (one, many) = (out.path().join("one"), out.path().join("many"));
    convert(&options(source.path(), &one, Some(4)), &mut go_on).unwrap();
    convert_in(6000, &options(source.path(), &many, Some(4)), &mut go_on).unwrap();
    let index = read(&many.join("model.safetensors.index.json"));
    let files: std::collections::BTreeSet<&str> =
        index["weight_map"].as_object().unwrap().values().map(|name| name.as_str().unwrap()).collect();
    assert!(files.len() > 5, "{files:?}");
    assert!(files.contains(format!("model-00001-of-{:05}.safetensors", files.len()).as_str()), "{files:?}");
    let found: Vec<String> = names(&many).into_iter().filter(|name| name.ends_with(".safetensors")).collect();
    assert_eq!(found, Vec::from_iter(files));
    for (name, file) in index["weight_map"].as_object().unwrap() {
        let arrays = Array::load_safetensors(many.join(file.as_str().unwrap())).unwrap();
        assert!(arrays.contains_key(name), "{name} is not in {file}");
    }
    assert_eq!(logits(&many), logits(&one));
    assert_eq!(logits(&one), logits(Checkpoint::llama().quantized(4).write().path()));
}

#[test]
fn an_encoder_is_packed_too() {
    let (source, out) = (bert().write(), TempDir::new().unwrap());
    let to = out.path().join("bert");
    convert(&options(source.path(), &to, Some(8)), &mut go_on).unwrap();
    let config = read(&to.join("config.json"));
    assert_eq!(config["quantization"], json!({"group_size": 32, "bits": 8, "mode": "affine"}));
    let vector = |folder: &Path| {
        let mut mlx = loaded(folder);
        let mut text = mlx.begin_text(&[3, 1, 4, 1, 5], Pooling::Mean).unwrap();
        loop {
            if let Some(vector) = mlx.embed(&mut text).unwrap() {
                return vector;
            }
        }
    };
    let (plain, packed) = (vector(source.path()), vector(&to));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = dot(&plain, &packed) / (dot(&plain, &plain) * dot(&packed, &packed)).sqrt();
    assert!(cosine > 0.999 && plain != packed, "the cosine is {cosine}");
}

#[test]
fn progress_begins_before_all_and_ends_with_the_length_of_the_files() {
    let (source, out) = (Checkpoint::llama().write(), TempDir::new().unwrap());
    let to = out.path().join("x");
    let mut told = Vec::new();
    let mut tell = |now: Progress| {
        assert!(told.is_empty() != to.exists(), "the first report comes before the folder");
        told.push(now);
        ControlFlow::Continue(())
    };
    convert(&options(source.path(), &to, Some(4)), &mut tell).unwrap();
    let bytes = fs::metadata(to.join("model.safetensors")).unwrap().len();
    assert!(told.iter().all(|now| now.total_bytes == bytes));
    assert!(told.windows(2).all(|pair| pair[0].done_bytes < pair[1].done_bytes));
    assert_eq!((told[0].done_bytes, told.last().unwrap().done_bytes), (0, bytes));
    assert_eq!(told.len(), 1 + Checkpoint::llama().tensors.len());
}

#[test]
fn a_cancelled_conversion_leaves_nothing() {
    let (source, out) = (Checkpoint::llama().write(), TempDir::new().unwrap());
    for reports in [0, 1, 5, Checkpoint::llama().tensors.len()] {
        let mut left = reports;
        let mut stop = |_| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            ControlFlow::Continue(())
        };
        let error = convert(&options(source.path(), &out.path().join("x"), None), &mut stop).unwrap_err();
        assert!(matches!(error, Error::Cancelled));
        assert!(names(out.path()).is_empty());
    }
}

#[test]
fn what_the_engine_could_not_load_is_refused_before_anything_is_written() {
    let without = |name: &str| {
        let mut checkpoint = Checkpoint::llama();
        checkpoint.tensors.remove(name).unwrap();
        checkpoint
    };
    let mut more = Checkpoint::llama();
    more.tensors.insert("model.layers.0.mlp.fourth.weight".into(), Array::from_f32(1.0));
    let packed_by_others = json!({"quant_method": "gptq", "bits": 4});
    for (checkpoint, words) in [
        (without("model.layers.1.mlp.up_proj.weight"), "model.layers.1.mlp.up_proj.weight"),
        (more, "model.layers.0.mlp.fourth.weight"),
        (Checkpoint::llama().with("vocab_size", json!(97)), "[97, 64]"),
        (Checkpoint::llama().with("model_type", json!("other")), "\"other\""),
        (Checkpoint::llama().with("quantization_config", packed_by_others), "gptq"),
    ] {
        let (source, out) = (checkpoint.write(), TempDir::new().unwrap());
        let mut unheard = |_| panic!("nothing begins");
        let error = convert(&options(source.path(), &out.path().join("x"), Some(4)), &mut unheard).unwrap_err();
        assert!(matches!(error, Error::Broken(_) | Error::NotSupported(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(names(out.path()).is_empty());
    }
}

#[test]
fn a_target_that_is_there_is_left_alone() {
    let (source, out) = (Checkpoint::llama().write(), TempDir::new().unwrap());
    fs::write(out.path().join("kept"), "text").unwrap();
    for target in [out.path().to_owned(), source.path().to_owned(), out.path().join("kept")] {
        let error = convert(&options(source.path(), &target, None), &mut go_on).unwrap_err();
        assert!(matches!(&error, Error::Write(words) if words.contains("is there already")), "{error}");
    }
    assert_eq!(names(out.path()), ["kept"]);
    assert_eq!(names(source.path()), ["config.json", "model.safetensors"]);
}

#[test]
fn a_matrix_that_must_stay_fine_is_refused_where_it_cannot() {
    let source = Checkpoint::llama().write();
    let config = Config::read(source.path()).unwrap();
    let settings = config::Settings::read(&config, &options(source.path(), Path::new("x"), Some(4))).unwrap();
    let tensor = |columns| Recorded {
        path: "model.layers.0.mlp.gate".into(),
        part: "weight",
        array: Array::zeros::<f32>(&[8, columns]).unwrap(),
        role: crate::weights::Role::Matrix(crate::weights::Fineness::Fine),
    };
    let bits =
        |columns| Plan::new(vec![tensor(columns)], &settings).map(|plan| plan.pieces[0].outputs[0].shape.clone());
    assert_eq!(bits(128).unwrap(), [8, 32], "8 bits");
    assert_eq!(bits(80).unwrap(), [8, 80], "no groups, so plain");
    let error = bits(96).unwrap_err();
    assert!(error.to_string().contains("mlp.gate must keep affine with 8 bits in groups of 64"), "{error}");
}

#[test]
fn texts_are_carried_over_and_nothing_else() {
    let (source, out) = (Checkpoint::llama().write(), TempDir::new().unwrap());
    let from = source.path();
    fs::create_dir_all(from.join("1_Pooling")).unwrap();
    let kept = ["1_Pooling/config.json", "LICENSE.md", "chat_template.jinja", "tokenizer.json", "vocab.txt"];
    for name in kept.iter().chain(&["pytorch_model.bin", "run.py", ".hidden.json", "other.safetensors.index.json"]) {
        fs::write(from.join(name), *name).unwrap();
    }
    std::os::unix::fs::symlink(from.join("vocab.txt"), from.join("linked.txt")).unwrap();
    std::os::unix::fs::symlink("nowhere", from.join("broken.txt")).unwrap();
    let pipe = from.join("pipe.txt");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let to = out.path().join("x");
    convert(&options(from, &to, None), &mut go_on).unwrap();
    let written = ["config.json", "model.safetensors", "model.safetensors.index.json"];
    let mut expected: Vec<&str> = written.into_iter().chain(["1_Pooling", "linked.txt"]).chain(kept).collect();
    expected.retain(|name| !name.contains('/'));
    expected.sort_unstable();
    assert_eq!(names(&to), expected);
    for name in kept {
        assert_eq!(fs::read_to_string(to.join(name)).unwrap(), name);
    }
    assert!(fs::symlink_metadata(to.join("linked.txt")).unwrap().is_file());
}

/// One layer of 64 numbers.
fn bert() -> Checkpoint {
    let config = json!({
        "model_type": "bert", "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 128,
        "num_attention_heads": 4, "vocab_size": 96, "max_position_embeddings": 32, "hidden_act": "gelu",
    });
    let mut checkpoint = Checkpoint { config, tensors: std::collections::BTreeMap::new() };
    let mut add = |name: &str, shape: &[i32], mean: f32| {
        let key = random::key(checkpoint.tensors.len() as u64).unwrap();
        let tensor = random::normal::<f32>(shape, mean, 0.2, &key).unwrap();
        checkpoint.tensors.insert(name.into(), tensor);
    };
    let mut norm = |path: &str| {
        add(&format!("{path}.weight"), &[64], 1.0);
        add(&format!("{path}.bias"), &[64], 0.0);
    };
    let layer = "encoder.layer.0";
    for path in
        ["embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm"]
    {
        norm(path);
    }
    for (name, rows) in [("word", 96), ("position", 32), ("token_type", 2)] {
        add(&format!("embeddings.{name}_embeddings.weight"), &[rows, 64], 0.0);
    }
    let attention = ["self.query", "self.key", "self.value", "output.dense"];
    let linear = attention.map(|name| (format!("attention.{name}"), 64, 64));
    for (name, rows, columns) in
        linear.into_iter().chain([("intermediate.dense".into(), 128, 64), ("output.dense".into(), 64, 128)])
    {
        add(&format!("{layer}.{name}.weight"), &[rows, columns], 0.0);
        add(&format!("{layer}.{name}.bias"), &[rows], 0.0);
    }
    add("pooler.dense.weight", &[64, 64], 0.0);
    checkpoint
}
