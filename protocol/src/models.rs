//! `models.list`, `models.get`, `models.load`, `models.unload`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::generate::is_default;
use crate::options::KeepAlive;
use crate::providers::ProviderId;

/// A model's name, `org/name` as on the hub; a bare name is one of no org.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ModelId(pub String);

impl ModelId {
    /// Name of the model's folder: the id with `/` as `_`.
    pub fn folder(&self) -> String {
        self.0.replace('/', "_")
    }

    /// Whether this can name a folder: letters, digits, `.`, `_`, `-` and at most one `/`, 1 to 128 bytes, no part
    /// empty or beginning with a dot.
    pub fn is_valid(&self) -> bool {
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        self.0.len() <= 128 && self.0.split('/').count() <= 2 && self.0.split('/').all(part)
    }
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A model as the library sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// Its name.
    pub id: ModelId,
    /// The part behind the org.
    pub name: String,
    /// For people: the name with spaces.
    pub display_name: String,
    /// Bytes on disk.
    pub size: u64,
    /// Where it runs.
    #[serde(rename = "type")]
    pub kind: ModelType,
    /// Who runs it where a request names the model alone, and who ran it where it is in memory: `mlx` or `candle`.
    pub provider: ProviderId,
    /// Which engines can run it, installed here or not; empty where its configuration does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<ProviderId>,
    /// Whether it is whole and can be loaded.
    pub is_installed: bool,
    /// Whether an engine holds it.
    pub is_loaded: bool,
    /// Its folder.
    pub path: PathBuf,
    /// Where it is from.
    pub source: ModelSource,
    /// The commit on the hub that its files are of, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Condition of its files.
    pub state: ModelState,
    /// What is wrong with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// `model_type` of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// What it can be asked for; empty where its configuration does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Tokens it can hold, prompt and answer together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// How its weights are packed; absent when they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// How it is held in memory, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Residency>,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelType {
    /// On this machine.
    Local,
    /// On somebody's server.
    Cloud,
}

/// Which of the places that are looked at a model is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// The daemon's own folder.
    Library,
    /// The cache of the Hugging Face libraries; used in place.
    HuggingFaceCache,
    /// A folder of the configuration; used in place.
    Folder,
}

/// What a model can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// `generate.*`
    Generate,
    /// `embeddings.create`
    Embed,
}

/// Condition of a model's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// All there.
    Complete,
    /// Files are missing or cut short.
    Partial,
    /// Files contradict each other or cannot be read.
    Broken,
    /// Its files are gone, but an engine still holds it.
    Gone,
}

/// Packing of quantized weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quantization {
    /// Bits of one weight.
    pub bits: u32,
    /// Weights that share a scale.
    pub group_size: u32,
}

/// How an engine holds a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Residency {
    /// What it is doing.
    pub state: ResidencyState,
    /// Share of the weights in memory, 0 to 1.
    pub loaded_share: f64,
    /// Process of its engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The device, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The smaller model that guesses tokens for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_model: Option<ModelId>,
    /// Why the one that the configuration names does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_problem: Option<String>,
    /// Bytes of live arrays in the engine.
    pub memory_bytes: u64,
    /// Requests that run.
    pub running: u32,
    /// Requests that have begun and are held up for interactive ones.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// How long it stays after its last request.
    pub keep_alive: KeepAlive,
    /// Until it is unloaded, in milliseconds; absent while it is in use or stays forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// What a resident model is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResidencyState {
    /// Its weights are being read.
    Loading,
    /// Warm, nothing to do.
    Idle,
    /// At work.
    Busy,
    /// Being unloaded.
    Unloading,
}

/// All models of the library, by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelList {
    /// Whole and broken ones alike.
    pub models: Vec<Model>,
}

/// Which model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    /// Its id.
    pub model: ModelId,
}

/// Which model to load, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadModel {
    /// Its id.
    pub model: ModelId,
    /// How long it stays warm without requests; the daemon's own setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<KeepAlive>,
}

/// Whether there was something to unload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unloaded {
    /// False when the model was not resident.
    pub unloaded: bool,
}
