//! What configs of Gemma 3 leave out, and where they say the rest.

use serde_json::{Value, json};

/// Before the names of the language model's tensors, where there are eyes beside it.
pub const PREFIX: &str = "language_model.";

/// The config of the language model in that of a model with eyes, with mlx-lm's defaults of such; `None` without one.
pub fn inner(json: &Value) -> Option<Value> {
    let text = json.get("text_config").filter(|text| text.is_object())?;
    let vocab_size = json.get("vocab_size").filter(|size| !size.is_null()).cloned().unwrap_or_else(|| json!(262_208));
    let heads = json!({ "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": vocab_size });
    let mut whole = defaulted(&or(heads, text));
    whole["model_type"] = json!("gemma3_text");
    Some(whole)
}

/// mlx-lm's defaults: exports leave out what is as in the smallest model.
pub fn defaulted(json: &Value) -> Value {
    let defaults = json!({
        "hidden_size": 1152, "num_hidden_layers": 26, "intermediate_size": 6912, "num_attention_heads": 4,
        "head_dim": 256, "rms_norm_eps": 1e-6, "vocab_size": 262_144, "num_key_value_heads": 1,
        "sliding_window": 512, "max_position_embeddings": 32_768,
    });
    or(defaults, json)
}

fn or(defaults: Value, json: &Value) -> Value {
    let mut whole = defaults;
    for (key, value) in json.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        whole[key] = value.clone();
    }
    whole
}
