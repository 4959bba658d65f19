//! `config.json`: read once per load. Numbers in it become shapes and loop counts, so none is used unchecked.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};

/// Largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// The longest context that is believed, and the one where a config names none.
const MAX_CONTEXT: usize = 1 << 24;

/// The fields that the architectures here know, under their names; others are ignored.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the format has them")]
pub struct Config {
    pub model_type: String,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub intermediate_size: usize,
    pub num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    pub rms_norm_eps: f32,
    pub vocab_size: usize,
    max_position_embeddings: Option<usize>,
    tie_word_embeddings: Option<bool>,
    pub rope_theta: Option<f32>,
    pub rope_scaling: Option<Scaling>,
    pub rope_parameters: Option<Scaling>,
    #[serde(default)]
    pub rope_traditional: bool,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default)]
    pub mlp_bias: bool,
    sliding_window: Option<usize>,
    #[serde(default)]
    use_sliding_window: bool,
    layer_types: Option<Vec<String>>,
}

/// How the wavelengths of a rope reach beyond the context of the first training.
#[derive(Debug, Clone, Deserialize)]
pub struct Scaling {
    pub r#type: Option<String>,
    pub rope_type: Option<String>,
    pub rope_theta: Option<f32>,
    pub factor: Option<f32>,
    pub low_freq_factor: Option<f32>,
    pub high_freq_factor: Option<f32>,
    pub original_max_position_embeddings: Option<f32>,
    pub long_factor: Option<Vec<f32>>,
}

impl Config {
    /// Reads the file in `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let broken = |why: &dyn std::fmt::Display| Error::Broken(format!("{}: {why}", path.display()));
        let mut text = Vec::new();
        let file = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
        if file.map_err(|error| broken(&error))? as u64 > MAX_BYTES {
            return Err(broken(&format!("more than {MAX_BYTES} bytes")));
        }
        Self::new(&serde_json::from_slice(&text).map_err(|error| broken(&error))?, &path)
    }

    /// What `json` says, which came from `path`.
    pub fn new(json: &serde_json::Value, path: &Path) -> Result<Self> {
        let broken = |why: &dyn std::fmt::Display| Error::Broken(format!("{}: {why}", path.display()));
        // The name first: fields of an architecture that is not known would be missed before it.
        let name = json["model_type"].as_str().ok_or_else(|| broken(&"no text under `model_type`"))?;
        if !engine::CANDLE_ARCHITECTURES.contains(&name) {
            let known = engine::CANDLE_ARCHITECTURES.join(", ");
            return Err(Error::NotSupported(format!("model_type {name:?} is not known to Candle, only {known}")));
        }
        let config = Self::deserialize(json).map_err(|error| broken(&error))?;
        config.check().map_err(|why| broken(&why))?;
        config.check_windows()?;
        Ok(config)
    }

    /// Heads of keys and values, each shared by as many of the queries.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Numbers of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or_else(|| self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Most tokens of a sequence.
    pub fn context(&self) -> usize {
        self.max_position_embeddings.unwrap_or(MAX_CONTEXT)
    }

    /// Whether the head is the embedding; where the config says nothing, mlx-lm's defaults hold.
    pub fn is_tied(&self) -> bool {
        self.tie_word_embeddings.unwrap_or(self.model_type != "qwen3")
    }

    /// Whether queries, keys and values have biases.
    pub fn qkv_bias(&self) -> bool {
        self.model_type == "qwen2" || self.attention_bias
    }

    /// Whether queries and keys are normed head by head.
    pub fn qk_norm(&self) -> bool {
        self.model_type == "qwen3"
    }

    fn check(&self) -> std::result::Result<(), String> {
        let ranges = [
            ("hidden_size", self.hidden_size, 1 << 17),
            ("num_hidden_layers", self.num_hidden_layers, 1000),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("num_attention_heads", self.num_attention_heads, 1024),
            ("num_key_value_heads", self.kv_heads(), self.num_attention_heads),
            ("head_dim", self.head_dim(), 1024),
            ("vocab_size", self.vocab_size, 1 << 22),
            ("max_position_embeddings", self.context(), MAX_CONTEXT),
        ];
        if let Some((key, value, most)) = ranges.into_iter().find(|(_, value, most)| !(1..=*most).contains(value)) {
            return Err(format!("{key} is {value}, but must lie in 1 to {most}"));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return Err(format!("rms_norm_eps is {}, but must be a number above 0", self.rms_norm_eps));
        }
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) || !self.head_dim().is_multiple_of(2) {
            return Err("heads cannot be shared evenly, or have an odd number of dimensions".into());
        }
        Ok(())
    }

    /// Windows change what a long prompt says; until they are computed they are refused rather than left out.
    fn check_windows(&self) -> Result<()> {
        let named = self.layer_types.iter().flatten().any(|kind| kind == "sliding_attention");
        let window = match self.model_type.as_str() {
            "qwen2" | "qwen3" => self.sliding_window.filter(|_| self.use_sliding_window),
            "mistral" => self.sliding_window,
            _ => None,
        };
        if named || window.is_some_and(|window| window < self.context()) {
            return Err(Error::NotSupported("layers with a sliding window are not known to Candle's engine".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
