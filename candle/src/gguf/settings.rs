//! The config that a GGUF file without a `config.json` amounts to: the other way round what llama.cpp's conversion does with
//! one, and what its loader takes for granted of an architecture.

use serde_json::{Map, Value, json};

use super::Gguf;
use crate::error::{Error, Result};

/// Values of `general.architecture` with the `model_type` that is computed.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("gemma", "gemma"),
    ("gemma2", "gemma2"),
    ("gemma3", "gemma3_text"),
    ("llama", "llama"),
    ("phi3", "phi3"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
];

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
    ("original_max_position_embeddings", "rope.scaling.original_context_length"),
    ("rope_theta", "rope.freq_base"),
    ("rope_local_base_freq", "rope.freq_base_swa"),
    ("sliding_window", "attention.sliding_window"),
    ("sliding_window_pattern", "attention.sliding_window_pattern"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
];

/// Layers of the two models of Gemma whose scores are scaled by their width, and not by that of a head.
const WIDE_GEMMA: [(&str, u64); 2] = [("gemma2", 46), ("gemma3", 62)];

/// As `config.json` would have it.
pub fn config(gguf: &Gguf) -> Result<Value> {
    let architecture = gguf.architecture()?;
    let not_supported = |why: String| Err(Error::NotSupported(format!("{}: {why}", gguf.path())));
    let Some((_, model_type)) = ARCHITECTURES.iter().find(|(name, _)| *name == architecture) else {
        let known: Vec<&str> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        return not_supported(format!("the architecture {architecture:?} is not known to Candle, only {known}"));
    };
    let entry = |key: &str| gguf.entry(&format!("{architecture}.{key}"));
    if entry("expert_count").is_some_and(|count| count != 0) {
        return not_supported("models with experts are not known to Candle".into());
    }
    let mut config = Map::new();
    for (key, name) in KEYS {
        if let Some(value) = entry(name) {
            config.insert((*key).into(), value);
        }
    }
    // What conversions write where there is none.
    config.retain(|key, value| key != "sliding_window" || *value != 0);
    // Mistral's files call themselves llama; what tells the two apart is a window.
    let windowed = architecture == "llama" && config.contains_key("sliding_window");
    config.insert("model_type".into(), json!(if windowed { "mistral" } else { model_type }));
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
    if architecture == "gemma3" && config.contains_key("final_logit_softcapping") {
        return not_supported("a Gemma 3 whose logits are bent is not known to Candle".into());
    }
    if gguf.is_later_gemma() {
        gemma(&mut config, architecture);
    }
    partial(&mut config, entry("rope.dimension_count").as_ref(), gguf)?;
    Ok(Value::Object(config))
}

/// Llama 3's files have the factor of each wavelength, and those of Phi 3 the ones for long contexts beside the ones for
/// short; others name a way.
fn scaling(gguf: &Gguf, architecture: &str) -> Result<Option<Value>> {
    for (tensor, kind) in [("rope_freqs.weight", "factors"), ("rope_factors_long.weight", "longrope")] {
        if let Some(factors) = gguf.numbers(tensor)? {
            return Ok(Some(json!({ "type": kind, "long_factor": factors })));
        }
    }
    let entry = |key: &str| gguf.entry(&format!("{architecture}.rope.scaling.{key}"));
    Ok(match entry("type").as_ref().and_then(Value::as_str) {
        None | Some("none") => None,
        Some(kind) => Some(json!({ "type": kind, "factor": entry("factor") })),
    })
}

/// What files of Gemma 2 and 3 do not say.
fn gemma(config: &mut Map<String, Value>, architecture: &str) {
    let number = |key: &str| config.get(key).and_then(Value::as_u64);
    let is_wide = number("num_hidden_layers").is_some_and(|layers| WIDE_GEMMA.contains(&(architecture, layers)));
    let scalar = if is_wide { share(config) } else { number("head_dim") };
    if let Some(scalar) = scalar {
        config.insert("query_pre_attn_scalar".into(), json!(scalar));
    }
    if !config.contains_key("sliding_window") {
        // Every layer sees everything.
        config.insert("sliding_window_pattern".into(), json!(1));
    }
}

/// Ropes that turn a part of each head are known of Phi 3 only.
fn partial(config: &mut Map<String, Value>, turned: Option<&Value>, gguf: &Gguf) -> Result<()> {
    let dims = config.get("head_dim").and_then(Value::as_u64).or_else(|| share(config));
    let (Some(turned), Some(dims)) = (turned.and_then(Value::as_u64), dims) else { return Ok(()) };
    if turned == dims {
        return Ok(());
    }
    if config["model_type"] != "phi3" {
        let text = format!("{}: a rope that turns {turned} numbers of each head is not known", gguf.path());
        return Err(Error::NotSupported(text));
    }
    // A share, of which the whole numbers count: half of one more keeps it from being rounded to one less.
    config.insert("partial_rotary_factor".into(), json!((turned as f64 + 0.5) / dims as f64));
    Ok(())
}

/// Numbers of a vector for each head.
fn share(config: &Map<String, Value>) -> Option<u64> {
    let number = |key: &str| config.get(key).and_then(Value::as_u64);
    number("hidden_size")?.checked_div(number("num_attention_heads")?)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
