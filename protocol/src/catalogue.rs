//! `models.catalogue`: models known to work, whether or not they are on this disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::models::{ModelId, ModelType, Quantization};
use crate::providers::ProviderId;

/// What there is to choose from, the default first, then from small to large.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Catalogue {
    /// The models.
    pub models: Vec<CatalogueEntry>,
    /// Bytes of this machine that a model may take; `fits` goes by it.
    pub memory_bytes: u64,
    /// What is wrong with the user's own file of entries, each with its line; such entries are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One model of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogueEntry {
    /// Its name, on the hub and here.
    pub id: ModelId,
    /// The part behind the org.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// Bytes to download, about: `pulls.start` tells the exact number before the first byte.
    pub size: u64,
    /// Where it runs.
    #[serde(rename = "type")]
    pub kind: ModelType,
    /// Who runs it: `mlx`.
    pub provider: ProviderId,
    /// Its page.
    pub download_url: String,
    /// Numbers it was trained to have.
    pub parameters: u64,
    /// Tokens it can hold, prompt and answer together.
    pub context_length: u64,
    /// How its weights are packed; absent when they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// Its licence, as an SPDX expression where there is one, else its name.
    pub license: String,
    /// What it is good at, for people.
    pub good_at: String,
    /// Bytes of memory it takes with a conversation of 4096 tokens: weights, keys and values, and room to compute.
    pub memory_bytes: u64,
    /// Whether this machine has as much for a model.
    pub fits: bool,
    /// Smallest memory of a Mac that it is chosen for, in GB.
    pub machine_gb: u32,
    /// Whether it is the one to begin with.
    pub is_default: bool,
    /// Whether it is on this disk, whole.
    pub is_installed: bool,
    /// Who says so.
    pub source: CatalogueSource,
}

/// Who put a model into the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogueSource {
    /// It comes with the daemon.
    BuiltIn,
    /// The user's file of entries.
    User,
}
