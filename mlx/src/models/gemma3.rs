//! Gemma 3 with eyes, of which only the language model is loaded. Follows mlx-lm's `models/gemma3.py`.

use serde_json::json;

use super::{Model, gemma3_text};
use crate::config::Config;
use crate::error::Result;
use crate::weights::Weights;

/// Takes the tensors of the language model and forgets those of the eyes.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Model>> {
    let vocab_size = config.get("vocab_size").cloned().unwrap_or_else(|| json!(262_208));
    let heads = json!({ "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": vocab_size });
    weights.within("language_model.");
    weights.rename(|name| name.strip_prefix("language_model.").map(str::to_owned));
    gemma3_text::load(&config.part("text_config")?.or(heads), weights)
}
