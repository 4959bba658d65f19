//! `models.import`, `models.delete`, `models.verify`, `models.storage`: the files of models.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::models::{ModelId, ModelSource};

/// What to make into a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportModel {
    /// By absolute path: a GGUF file, a folder with an MLX model, or one with safetensors as they are published.
    pub path: PathBuf,
    /// The new model's id; `local/` and the name of the file or folder when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// Copy the files of a folder even where links would do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copy: bool,
    /// Pack the weights of a folder into so many bits: 2, 3, 4, 5, 6 or 8. As they are when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// Weights that share a scale: 32, 64 or 128; 64 when absent. Only with `bits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_size: Option<u32>,
}

/// Which model to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteModel {
    /// Its id.
    pub model: ModelId,
    /// What to do when requests use it; refused with `model_in_use` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Force>,
}

/// How to delete a model that is in use. New requests to it are refused meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// Let its requests end.
    Wait,
    /// Cancel them.
    Cancel,
}

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// Which model.
    pub model: ModelId,
    /// Bytes that the disk has back: files that others share stay.
    pub freed_bytes: u64,
}

/// What a look at every byte of a model said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// Which model.
    pub model: ModelId,
    /// Whether every file with a known hash has it, and there is one with.
    pub ok: bool,
    /// Where the hashes are from.
    pub against: HashSource,
    /// The files, by name.
    pub files: Vec<VerifiedFile>,
}

/// Where the hashes of a model's files are known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashSource {
    /// The manifest written when it was pulled or imported.
    Manifest,
    /// The Hugging Face cache names files by their hashes.
    HuggingFaceCache,
    /// Nobody knows them.
    Nothing,
}

/// What was found of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedFile {
    /// Its name.
    pub path: String,
    /// Bytes it has; 0 when it is missing.
    pub size: u64,
    /// What was found.
    pub state: FileState,
}

/// What was found of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Its bytes are those it should have.
    Ok,
    /// They are not.
    Changed,
    /// It is not there.
    Missing,
    /// It cannot be read.
    Unreadable,
    /// Its hash is not known.
    Unknown,
}

/// What models take of the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    /// Each model, largest first.
    pub models: Vec<StoredModel>,
    /// Downloads that are not done.
    pub pulls: Vec<StoredPull>,
    /// Bytes of all of it; a file that several models share counts once.
    pub used_bytes: u64,
    /// Bytes that this user can still write where models are kept.
    pub free_bytes: u64,
    /// Bytes of that file system.
    pub capacity_bytes: u64,
    /// Where models are kept.
    pub path: PathBuf,
}

/// What one model takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredModel {
    /// Which model.
    pub model: ModelId,
    /// Where it is from.
    pub source: ModelSource,
    /// Its folder.
    pub path: PathBuf,
    /// Bytes of its files, as they lie on the disk.
    pub size: u64,
    /// Those of them that no other model shares.
    pub own_bytes: u64,
}

/// What one unfinished download takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredPull {
    /// What is downloaded.
    pub model: ModelId,
    /// Bytes on disk.
    pub size: u64,
}
