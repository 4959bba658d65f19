//! Mistral 3 with eyes, of which only the language model is loaded: Mistral's or Ministral 3's. Follows mlx-lm's
//! `models/mistral3.py`.

use serde_json::json;

use super::{Model, llama, ministral3};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::weights::Weights;

/// Takes the tensors of the language model and forgets those of the eyes.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Model>> {
    let text = config.part("text_config")?.or(json!({ "tie_word_embeddings": false }));
    weights.within("language_model.");
    weights.rename(inner_name);
    match text.model_type() {
        Ok("ministral3") => ministral3::load(&text, weights),
        Ok("mistral" | "llama") | Err(_) => llama::load(&text, weights),
        Ok(other) => Err(Error::NotSupported(format!(
            "the language model {other:?} of mistral3 is not known; known are ministral3, mistral and llama"
        ))),
    }
}

fn inner_name(name: &str) -> Option<String> {
    if name.contains("vision_tower") || name.contains("multi_modal_projector") {
        return None;
    }
    match name.strip_prefix("model.language_model.") {
        Some(rest) => Some(format!("model.{rest}")),
        None => Some(name.strip_prefix("language_model.").unwrap_or(name).to_owned()),
    }
}
