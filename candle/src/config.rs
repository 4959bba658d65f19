//! `config.json`: read once per load. Numbers in it become shapes and loop counts, so none is used unchecked.

mod gemma3;
mod windows;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use self::windows::{LayerType, Windows};
use crate::error::{Error, Result};
use crate::rope::Settings as Rope;

/// Largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// The longest context that is believed, and the one where a config names none.
const MAX_CONTEXT: usize = 1 << 24;

/// The fields that the architectures here know, under their names; others are ignored.
#[derive(Debug, Clone, Deserialize)]
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
    #[serde(flatten)]
    pub rope: Rope,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default)]
    pub mlp_bias: bool,
    #[serde(flatten)]
    windows: Windows,
    query_pre_attn_scalar: Option<f32>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    /// Before the names of all tensors in safetensors files.
    #[serde(skip)]
    pub prefix: &'static str,
}

/// A function of the gate's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Silu,
    /// Of the error function.
    Gelu,
    /// Of a hyperbolic tangent in its place.
    GeluTanh,
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
    pub fn new(json: &Value, path: &Path) -> Result<Self> {
        let broken = |why: &dyn std::fmt::Display| Error::Broken(format!("{}: {why}", path.display()));
        // The name first: fields of an architecture that is not known would be missed before it.
        let name = json["model_type"].as_str().ok_or_else(|| broken(&"no text under `model_type`"))?;
        if !engine::CANDLE_ARCHITECTURES.contains(&name) {
            let known = engine::CANDLE_ARCHITECTURES.join(", ");
            return Err(Error::NotSupported(format!("model_type {name:?} is not known to Candle, only {known}")));
        }
        let (whole, prefix) = match name {
            "gemma3" => (gemma3::inner(json).ok_or_else(|| broken(&"no object under `text_config`"))?, gemma3::PREFIX),
            "gemma3_text" => (gemma3::defaulted(json), ""),
            _ => (json.clone(), ""),
        };
        let mut config = Self::deserialize(&whole).map_err(|error| broken(&error))?;
        config.prefix = prefix;
        config.check().map_err(|why| broken(&why))?;
        config.check_windows()?;
        Ok(config)
    }

    /// Heads of keys and values, each shared by as many of the queries.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Bytes of one token's keys and values in all layers.
    pub fn token_bytes(&self) -> u64 {
        (2 * size_of::<f32>() * self.num_hidden_layers * self.kv_heads() * self.head_dim()) as u64
    }

    /// Numbers of a head.
    pub fn head_dim(&self) -> usize {
        let share = self.hidden_size / self.num_attention_heads.max(1);
        self.head_dim.unwrap_or(if ["gemma", "gemma2"].contains(&self.model_type.as_str()) { 256 } else { share })
    }

    /// Most tokens of a sequence.
    pub fn context(&self) -> usize {
        self.max_position_embeddings.unwrap_or(match self.model_type.as_str() {
            "gemma" | "gemma2" => 8192,
            "phi3" => 131_072,
            _ => MAX_CONTEXT,
        })
    }

    /// Whether the head is the embedding; `None` where the tensors tell. Where the config says nothing, mlx-lm's defaults
    /// hold.
    pub fn is_tied(&self) -> Option<bool> {
        match self.model_type.as_str() {
            "gemma" | "gemma2" => Some(true),
            "gemma3_text" => None,
            name => Some(self.tie_word_embeddings.unwrap_or(!["qwen3", "phi3"].contains(&name))),
        }
    }

    /// Whether queries, keys and values have biases.
    pub fn qkv_bias(&self) -> bool {
        self.model_type == "qwen2" || self.attention_bias
    }

    /// Whether queries and keys are normed head by head.
    pub fn qk_norm(&self) -> bool {
        ["qwen3", "gemma3_text"].contains(&self.model_type.as_str())
    }

    /// Whether one matrix makes queries, keys and values, and one both halves of the MLP.
    pub fn is_joined(&self) -> bool {
        self.model_type == "phi3"
    }

    /// Whether norms are of 1 + weight.
    pub fn is_gemma(&self) -> bool {
        self.model_type == "gemma" || self.norms_after()
    }

    /// Whether norms stand after each part too.
    pub fn norms_after(&self) -> bool {
        ["gemma2", "gemma3_text"].contains(&self.model_type.as_str())
    }

    /// What the gate of an MLP goes through.
    pub fn gate(&self) -> Gate {
        match self.model_type.as_str() {
            "gemma" => Gate::Gelu,
            "gemma2" | "gemma3_text" => Gate::GeluTanh,
            _ => Gate::Silu,
        }
    }

    /// Whether layers with a window have a rope of their own.
    pub fn is_gemma3(&self) -> bool {
        self.model_type == "gemma3_text"
    }

    /// Times this are products of queries and keys.
    pub fn query_scale(&self) -> f32 {
        let scalar = match self.model_type.as_str() {
            "gemma2" => Some(self.query_pre_attn_scalar.unwrap_or(144.0)),
            "gemma3_text" => Some(self.query_pre_attn_scalar.unwrap_or(256.0)),
            _ => None,
        };
        scalar.unwrap_or(self.head_dim() as f32).powf(-0.5)
    }

    /// Below this the scores of attention are bent.
    pub fn score_cap(&self) -> Option<f32> {
        (self.model_type == "gemma2").then_some(self.attn_logit_softcapping.unwrap_or(50.0))
    }

    /// Below this the logits are bent.
    pub fn logit_cap(&self) -> Option<f32> {
        (self.model_type == "gemma2").then_some(self.final_logit_softcapping.unwrap_or(30.0))
    }

    /// Times this are the vectors of tokens.
    pub fn embedding_scale(&self) -> Option<f32> {
        let scale = (self.hidden_size as f32).sqrt();
        match self.model_type.as_str() {
            "gemma" | "gemma2" => Some(scale),
            // The reference rounds it.
            "gemma3_text" => Some(bfloat16(scale)),
            _ => None,
        }
    }

    /// The window of each layer; `None` for those that see everything.
    pub fn windows(&self) -> Result<Vec<Option<usize>>> {
        let pattern = self.windows.pattern();
        let felt = self.windows.sliding_window.is_some_and(|window| window < self.context());
        let slides = |layer: usize| match self.model_type.as_str() {
            // Every sixth sees everything, unless the config says which.
            "gemma3_text" => !(layer + 1).is_multiple_of(pattern),
            // As their makers have it; mlx-lm leaves it out.
            "mistral" | "phi3" => felt,
            _ => false,
        };
        self.windows.of_layers(self.num_hidden_layers, slides)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let (pattern, window) = (self.windows.pattern(), self.windows.sliding_window.unwrap_or(1));
        let ranges = [
            ("sliding_window_pattern", pattern, 1000),
            ("sliding_window", window, MAX_CONTEXT),
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
        let positive = [
            ("rms_norm_eps", Some(self.rms_norm_eps)),
            ("query_pre_attn_scalar", self.query_pre_attn_scalar.filter(|_| self.norms_after())),
            ("attn_logit_softcapping", self.score_cap()),
            ("final_logit_softcapping", self.logit_cap()),
        ];
        for (key, value) in positive {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return Err(format!("{key} is {value}, but must be a number above 0"));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) || !self.head_dim().is_multiple_of(2) {
            return Err("heads cannot be shared evenly, or have an odd number of dimensions".into());
        }
        Ok(())
    }

    /// Windows change what a long prompt says: those of Qwen, which begin at some layer, are refused rather than left out.
    fn check_windows(&self) -> Result<()> {
        let Windows { sliding_window, use_sliding_window, ref layer_types, .. } = self.windows;
        let named = layer_types.iter().flatten().any(|kind| *kind == LayerType::SlidingAttention);
        let felt = sliding_window.is_some_and(|window| window < self.context());
        if self.model_type.starts_with("qwen") && (named || felt && use_sliding_window) {
            let text = format!("{} with a sliding window is not known to Candle's engine", self.model_type);
            return Err(Error::NotSupported(text));
        }
        Ok(())
    }
}

/// The nearest bfloat16, ties to even.
fn bfloat16(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
