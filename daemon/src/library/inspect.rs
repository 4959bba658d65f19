//! Judges one folder: is it a whole model that an engine here can run, and if not, what is missing.
//!
//! Only configuration and headers are read, never weights, so that a scan of many models stays quick. Nothing is
//! written, and no subfolder is entered: a folder cannot make this run in circles. Called by the library.

mod gguf;
mod safetensors;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use protocol::Quantization;
use serde::Deserialize;
use serde_json::Value;

use crate::backend::Backend;
use crate::bounded;
use safetensors::Header;

/// Longest `config.json` that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Longest `model.safetensors.index.json` that is read.
const MAX_INDEX_BYTES: u64 = 32 << 20;

/// Most files of a folder that are looked at.
pub(super) const MAX_FILES: usize = 10_000;

/// Says which file has which tensor, where there are several.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// What a folder holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Inspection {
    pub condition: Condition,
    /// `model_type` of the configuration.
    pub architecture: Option<String>,
    pub context_length: Option<u64>,
    pub quantization: Option<Quantization>,
    /// Whether the packing is MLX's plain one: integers with a scale and a bias, or none.
    is_affine: bool,
    /// Whether the weights are a GGUF file.
    is_gguf: bool,
    /// Bytes of the files directly in the folder.
    pub size: u64,
    /// Bytes of the weight files among them.
    pub weight_bytes: u64,
}

/// Condition of a folder; each problem is one sentence with the file and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// All there, and an engine knows the architecture.
    Complete,
    /// Files are missing or cut short.
    Partial(String),
    /// Files contradict each other or cannot be read.
    Broken(String),
    /// Sound, but nothing here runs it.
    NotSupported(String),
}

/// The parts of `config.json` that the library tells of. The values are judged one by one, so that a strange one
/// does not hide the others.
#[derive(Deserialize)]
struct Config {
    model_type: Option<Value>,
    max_position_embeddings: Option<Value>,
    quantization: Option<Value>,
    #[serde(rename = "quantization_config")]
    foreign_quantization: Option<Value>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Files of a folder with their lengths.
type Files = BTreeMap<String, u64>;

impl Inspection {
    /// A folder of which nothing is known but its problem.
    pub(super) fn broken(problem: String) -> Self {
        let condition = Condition::Broken(problem);
        Self {
            condition,
            architecture: None,
            context_length: None,
            quantization: None,
            is_affine: true,
            is_gguf: false,
            size: 0,
            weight_bytes: 0,
        }
    }
}

impl Inspection {
    /// The engines that can run it.
    pub(super) fn backends(&self) -> Vec<Backend> {
        let Some(architecture) = self.architecture.as_deref() else { return Vec::new() };
        let is_mlx = engine::ARCHITECTURES.contains(&architecture) || engine::ENCODERS.contains(&architecture);
        let is_candle = engine::CANDLE_ARCHITECTURES.contains(&architecture) && self.is_affine;
        let able = [(Backend::Mlx, is_mlx && !self.is_gguf), (Backend::Candle, is_candle)];
        able.into_iter().filter(|(_, can)| *can).map(|(backend, _)| backend).collect()
    }
}

/// Judges the folder. The first problem found is the one that is told.
pub(super) fn inspect(folder: &Path) -> Inspection {
    let files = match files(folder) {
        Ok(files) => files,
        Err(error) => return Inspection::broken(format!("the folder cannot be read ({error}): check its permissions")),
    };
    let named = |is: fn(&str) -> bool| files.keys().map(String::as_str).filter(|name| is(name)).collect::<Vec<_>>();
    let (mut weights, ggufs) = (named(is_weights), named(gguf::is_gguf));
    let is_gguf = weights.is_empty() && !ggufs.is_empty();
    if is_gguf {
        weights = ggufs;
    }
    let mut found = Inspection {
        condition: Condition::Complete,
        is_gguf,
        size: files.values().sum(),
        weight_bytes: weights.iter().map(|name| files[*name]).sum(),
        ..Inspection::broken(String::new())
    };
    let judged = configuration(folder, &files, &mut found)
        .and_then(|()| index(folder, &files))
        .and_then(|()| match found.architecture.as_deref().filter(|_| is_gguf) {
            Some(architecture) => gguf::whole(folder, &weights, architecture),
            None => whole(folder, &weights),
        })
        .and_then(|()| tokenizer(&files));
    if let Err(condition) = judged {
        found.condition = condition;
    }
    found
}

/// Regular files of the folder, links to such included.
fn files(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)?.take(MAX_FILES).flatten() {
        // A link that leads nowhere is no file; whoever needs it finds it missing.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_file() {
            files.insert(entry.file_name().to_string_lossy().into_owned(), metadata.len());
        }
    }
    Ok(files)
}

/// Whether a file of this name holds weights that the engine reads.
pub(super) fn is_weights(name: &str) -> bool {
    (name.starts_with("model") || name.starts_with("weights")) && name.ends_with(".safetensors")
}

fn configuration(folder: &Path, files: &Files, found: &mut Inspection) -> Result<(), Condition> {
    if !files.contains_key("config.json") {
        return Err(missing("config.json"));
    }
    let broken = |why: String| Condition::Broken(format!("config.json {why}: download the model again"));
    let bytes = bounded::read(&folder.join("config.json"), MAX_CONFIG_BYTES)
        .map_err(|error| broken(format!("cannot be read ({error})")))?;
    let config: Config =
        serde_json::from_slice(&bytes).map_err(|error| broken(format!("is not a JSON object of a model ({error})")))?;
    found.context_length = config.max_position_embeddings.as_ref().and_then(Value::as_u64);
    found.architecture = config.model_type.as_ref().and_then(Value::as_str).map(str::to_owned);
    let Some(architecture) = &found.architecture else {
        return Err(broken("has no model_type, which says what the weights mean".into()));
    };
    if !engine::ARCHITECTURES.contains(&architecture.as_str()) && !engine::ENCODERS.contains(&architecture.as_str()) {
        return Err(Condition::NotSupported(format!(
            "config.json says model_type {architecture:?}, which no engine here runs: choose a model of {}",
            engine::ARCHITECTURES.join(", ")
        )));
    }
    found.quantization = quantization(&config)?;
    let mode = config.quantization.as_ref().and_then(|own| own.get("mode")).and_then(Value::as_str);
    found.is_affine = mode.is_none_or(|mode| mode == "affine");
    Ok(())
}

fn quantization(config: &Config) -> Result<Option<Quantization>, Condition> {
    let own = config.quantization.as_ref().filter(|value| !value.is_null());
    let Some(value) = own.or(config.foreign_quantization.as_ref()).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    match value.get("quant_method").and_then(Value::as_str).filter(|_| own.is_none()) {
        // What gpt-oss is published in: MLX's own ways, in groups of one size.
        Some("mxfp4") => return Ok(Some(Quantization { bits: 4, group_size: 32 })),
        Some("mxfp8") => return Ok(Some(Quantization { bits: 8, group_size: 32 })),
        Some(method) => {
            return Err(Condition::NotSupported(format!(
                "config.json says that the weights are packed by {method:?}, which no engine here reads: choose an \
                 MLX version of the model"
            )));
        }
        None => {}
    }
    let number = |key| value.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    match (number("bits"), number("group_size")) {
        (Some(bits), Some(group_size)) => Ok(Some(Quantization { bits, group_size })),
        _ => Err(Condition::Broken(
            "the quantization of config.json lacks bits or group_size: download the model again".into(),
        )),
    }
}

/// Checks that every shard the index names is there.
fn index(folder: &Path, files: &Files) -> Result<(), Condition> {
    if !files.contains_key(INDEX) {
        return Ok(());
    }
    let broken = |why: String| Condition::Broken(format!("{INDEX} {why}: download the model again"));
    let bytes = bounded::read(&folder.join(INDEX), MAX_INDEX_BYTES)
        .map_err(|error| broken(format!("cannot be read ({error})")))?;
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|error| broken(format!("does not map tensors to files ({error})")))?;
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    for shard in shards {
        if !is_weights(shard) || shard.contains('/') {
            return Err(broken(format!("names {shard:?}, which is no weight file of this folder")));
        }
        if !files.contains_key(shard) {
            return Err(missing(shard));
        }
    }
    Ok(())
}

/// Checks that there are weights, each as long as its header says.
fn whole(folder: &Path, weights: &[&str]) -> Result<(), Condition> {
    if weights.is_empty() {
        return Err(Condition::Partial(
            "there is no model*.safetensors: download the model again, or import it if it is a GGUF file".into(),
        ));
    }
    for name in weights {
        let broken = |why| Condition::Broken(format!("{name} {why}: download the model again"));
        let header = safetensors::header(&folder.join(name)).map_err(broken)?;
        let Header { expected_bytes, actual_bytes } = header;
        if actual_bytes < expected_bytes {
            return Err(Condition::Partial(format!(
                "{name} is cut short, with {actual_bytes} of {expected_bytes} bytes: download it again"
            )));
        }
        if actual_bytes > expected_bytes {
            return Err(broken(format!("has {actual_bytes} bytes where its header accounts for {expected_bytes}")));
        }
    }
    Ok(())
}

fn tokenizer(files: &Files) -> Result<(), Condition> {
    match files.get("tokenizer.json") {
        None => Err(missing("tokenizer.json")),
        Some(0) => Err(Condition::Partial("tokenizer.json is empty: download it again".into())),
        Some(_) => Ok(()),
    }
}

fn missing(name: &str) -> Condition {
    Condition::Partial(format!("{name} is missing: finish the download, or download the model again"))
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
