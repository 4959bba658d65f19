//! The config that a GGUF file without a `config.json` amounts to.

use serde_json::{Map, Value, json};

use super::Gguf;
use crate::error::{Error, Result};

/// Keys of a config, and those of the header after the name of the architecture.
const KEYS: &[(&str, &str)] = &[
    ("hidden_size", "embedding_length"),
    ("num_hidden_layers", "block_count"),
    ("intermediate_size", "feed_forward_length"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("max_position_embeddings", "context_length"),
    ("rope_theta", "rope.freq_base"),
    ("sliding_window", "attention.sliding_window"),
];

/// As `config.json` would have it.
pub fn config(gguf: &Gguf) -> Result<Value> {
    let architecture = gguf.architecture()?;
    let entry = |key: &str| gguf.entry(&format!("{architecture}.{key}"));
    if entry("expert_count").is_some_and(|count| count != 0) {
        return Err(Error::NotSupported(format!("{}: models with experts are not known to Candle", gguf.path())));
    }
    let mut config = Map::new();
    // Mistral's files call themselves llama; what tells the two apart is a window.
    let windowed = architecture == "llama" && entry("attention.sliding_window").is_some();
    config.insert("model_type".into(), if windowed { json!("mistral") } else { json!(architecture) });
    for (key, name) in KEYS {
        if let Some(value) = entry(name) {
            config.insert((*key).into(), value.clone());
        }
    }
    config.insert("vocab_size".into(), json!(gguf.rows("model.embed_tokens.weight")?));
    for matrix in ["self_attn.q_proj", "self_attn.o_proj"] {
        if gguf.has(&format!("model.layers.0.{matrix}.bias")) && architecture == "llama" {
            config.insert("attention_bias".into(), json!(true));
        }
    }
    config.insert("use_sliding_window".into(), json!(true));
    if let Some(scaling) = scaling(gguf, architecture)? {
        config.insert("rope_scaling".into(), scaling);
    }
    partial(&config, entry("rope.dimension_count"), gguf)?;
    Ok(Value::Object(config))
}

/// Llama 3's files have the factor of each wavelength; others name a way.
fn scaling(gguf: &Gguf, architecture: &str) -> Result<Option<Value>> {
    if let Some(factors) = gguf.numbers("rope_freqs.weight")? {
        return Ok(Some(json!({ "type": "factors", "long_factor": factors })));
    }
    let entry = |key: &str| gguf.entry(&format!("{architecture}.rope.scaling.{key}"));
    Ok(match entry("type").and_then(Value::as_str) {
        None | Some("none") => None,
        Some(kind) => Some(json!({ "type": kind, "factor": entry("factor") })),
    })
}

/// Ropes that turn a part of each head are not known here.
fn partial(config: &Map<String, Value>, turned: Option<&Value>, gguf: &Gguf) -> Result<()> {
    let number = |key: &str| config.get(key).and_then(Value::as_u64);
    let share = || number("hidden_size")?.checked_div(number("num_attention_heads")?);
    let dims = number("head_dim").or_else(share);
    match turned.and_then(Value::as_u64) {
        Some(turned) if dims != Some(turned) => {
            let text = format!("{}: a rope that turns {turned} numbers of each head is not known", gguf.path());
            Err(Error::NotSupported(text))
        }
        _ => Ok(()),
    }
}
