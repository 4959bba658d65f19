//! The program's conversions against those of `mlx_lm.convert`, on the checkpoints of some rows: the same tensors to the
//! last bit, and the same config.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::reference::{self, Row};

const TABLE: &str = include_str!("conversions.json");
const SCRIPT: &str = concat!(include_str!("checkpoints.py"), include_str!("convert.py"));

/// A row and what becomes of it.
#[derive(Debug, Deserialize)]
struct Conversion {
    /// Architecture and name of a row.
    of: String,
    bits: Option<u32>,
    group_size: Option<u32>,
    dtype: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// What the script reads.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    row: &'a Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<&'a str>,
    #[serde(flatten)]
    rest: &'a BTreeMap<String, Value>,
}

#[test]
fn every_conversion_is_what_mlx_lm_writes() {
    let (rows, conversions) = (reference::rows(), conversions());
    let asked: Vec<Asked> = conversions.iter().map(|conversion| conversion.asked(&rows)).collect();
    let folder =
        reference::kept("conversions", SCRIPT, TABLE, |folder| json!({ "folder": folder, "conversions": asked }));
    let ours = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (place, conversion) in conversions.iter().enumerate() {
        let (theirs, ours) = (folder.join(place.to_string()), ours.path().join(place.to_string()));
        conversion.run(&theirs.join("from"), &ours);
        if let Err(problem) = same(&ours, &theirs.join("theirs")) {
            wrong.push(format!("{}: {problem}", conversion.of));
        }
    }
    assert!(wrong.is_empty(), "{} of {} conversions are wrong:\n{}", wrong.len(), conversions.len(), wrong.join("\n"));
}

#[test]
fn every_architecture_is_converted() {
    let conversions = conversions();
    for architecture in engine::ARCHITECTURES {
        let start = format!("{architecture}, ");
        assert!(conversions.iter().any(|conversion| conversion.of.starts_with(&start)), "none is of {architecture}");
    }
}

fn conversions() -> Vec<Conversion> {
    serde_json::from_str(TABLE).unwrap()
}

impl Conversion {
    fn asked<'a>(&'a self, rows: &'a [Row]) -> Asked<'a> {
        let row = rows.iter().find(|row| format!("{}, {}", row.architecture, row.name) == self.of);
        let Self { of, bits, group_size, dtype, rest } = self;
        let row = row.unwrap_or_else(|| panic!("there is no row {of}"));
        Asked { row, bits: *bits, group_size: *group_size, dtype: dtype.as_deref(), rest }
    }

    fn run(&self, from: &Path, to: &Path) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_talkied-mlx"));
        program.arg("convert").arg("--from").arg(from).arg("--to").arg(to);
        let numbers = [("--bits", self.bits), ("--group-size", self.group_size)];
        for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
            program.arg(name).arg(number.to_string());
        }
        if let Some(dtype) = &self.dtype {
            program.arg("--dtype").arg(dtype);
        }
        let output = program.output().unwrap();
        assert!(output.status.success(), "{}: {}", self.of, String::from_utf8_lossy(&output.stdout));
    }
}

/// That two folders hold the same model, or what differs.
fn same(ours: &Path, theirs: &Path) -> Result<(), String> {
    for name in ["config.json", "model.safetensors.index.json", "generation_config.json"] {
        let [ours, theirs] = [ours, theirs].map(|folder| fs::read(folder.join(name)).unwrap());
        let [ours, mut theirs] = [ours, theirs].map(|bytes| without_count(&bytes));
        without_defaults(&mut theirs, &ours);
        if ours != theirs {
            return Err(format!("{name} is {ours}\nnot {theirs}"));
        }
    }
    let (ours, theirs) = (tensors(ours), tensors(theirs));
    let (our_names, their_names): (Vec<_>, Vec<_>) = (ours.keys().collect(), theirs.keys().collect());
    if our_names != their_names {
        return Err(format!("the tensors are {our_names:?}\nnot {their_names:?}"));
    }
    for (name, (dtype, shape, bytes)) in &theirs {
        let (our_dtype, our_shape, our_bytes) = &ours[name];
        if (our_dtype, our_shape) != (dtype, shape) {
            return Err(format!("{name} is {our_dtype:?} {our_shape:?}, not {dtype:?} {shape:?}"));
        }
        if our_bytes != bytes {
            let count = our_bytes.iter().zip(bytes).filter(|(a, b)| a != b).count();
            return Err(format!("{count} of {} bytes of {name} differ", bytes.len()));
        }
    }
    Ok(())
}

/// A document without mlx-lm's count of parameters, which overlooks the sinks of gpt-oss.
fn without_count(bytes: &[u8]) -> Value {
    let mut document: Value = serde_json::from_slice(bytes).unwrap();
    let is_gpt_oss = document.to_string().contains("self_attn.sinks");
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut).filter(|_| is_gpt_oss) {
        metadata.remove("total_parameters").expect("the parameters are counted");
    }
    document
}

/// Takes out what mlx-lm's loading writes into the config of a language model inside another: defaults, which every
/// reader of such a model knows.
fn without_defaults(theirs: &mut Value, ours: &Value) {
    const DEFAULTS: [&str; 4] = ["num_attention_heads", "num_key_value_heads", "tie_word_embeddings", "vocab_size"];
    if let Some(text) = theirs.get_mut("text_config").and_then(Value::as_object_mut) {
        text.retain(|key, _| !DEFAULTS.contains(&key.as_str()) || ours["text_config"].get(key).is_some());
    }
}

type Tensor = (Dtype, Vec<usize>, Vec<u8>);

fn tensors(folder: &Path) -> BTreeMap<String, Tensor> {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().and_then(|metadata| metadata.get("format")).unwrap(), "mlx");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))).collect()
}
