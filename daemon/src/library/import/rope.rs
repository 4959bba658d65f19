//! Rope scaling, from the two ways in which GGUF tells it: keys for linear scaling, and a tensor of factors for
//! Llama 3's, whose parameters are found again by trying the ones in use.

use std::f64::consts::TAU;

use serde_json::{Value, json};

use crate::library::gguf::{Encoding, Gguf, GgufError};

/// Keys below `llama.` that this module answers for.
pub(super) const KEYS: [&str; 4] =
    ["rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.finetuned"];

/// The tensor by whose numbers the rope's wavelengths are multiplied.
pub(super) const FACTORS: &str = "rope_freqs.weight";

/// How far a factor may lie from the formula; converters compute in 32 bits.
const TOLERANCE: f64 = 1e-3;

/// Context length before scaling of all Llama 3 models.
const ORIGINAL_CONTEXT: u64 = 8192;

/// `rope_scaling` of `config.json`, if there is any.
pub(super) fn scaling(gguf: &Gguf, head_dim: u64, theta: f64) -> Result<Option<Value>, GgufError> {
    match (by_keys(gguf)?, by_factors(gguf, head_dim, theta)?) {
        (Some(_), Some(_)) => {
            let text = format!("it scales its rope twice, by llama.rope.scaling.factor and by the tensor {FACTORS}");
            Err(GgufError::NotSupported(text))
        }
        (keys, factors) => Ok(keys.or(factors)),
    }
}

fn by_keys(gguf: &Gguf) -> Result<Option<Value>, GgufError> {
    let metadata = &gguf.header.metadata;
    let factor = metadata.float("llama.rope.scaling.factor")?.unwrap_or(1.0);
    // A factor without a type is linear to llama.cpp.
    match metadata.text("llama.rope.scaling.type")?.unwrap_or("linear") {
        "none" => Ok(None),
        "linear" if [0.0, 1.0].contains(&factor) => Ok(None),
        "linear" if factor > 0.0 => Ok(Some(json!({"rope_type": "linear", "factor": factor}))),
        "linear" => Err(GgufError::Damaged(format!("llama.rope.scaling.factor is {factor}"))),
        other => Err(GgufError::NotSupported(format!(
            "its llama.rope.scaling.type is {other:?}; only \"none\", \"linear\" and Llama 3's scaling can be imported"
        ))),
    }
}

fn by_factors(gguf: &Gguf, head_dim: u64, theta: f64) -> Result<Option<Value>, GgufError> {
    let Some(tensor) = gguf.header.tensor(FACTORS) else { return Ok(None) };
    if tensor.shape != [head_dim / 2] || tensor.encoding != Encoding::F32 {
        return Err(GgufError::Damaged(format!("tensor {FACTORS} is not {} numbers of type F32", head_dim / 2)));
    }
    let mut bytes = vec![0; tensor.bytes as usize];
    gguf.read_at(tensor, 0, &mut bytes)?;
    let (words, _) = bytes.as_chunks::<4>();
    let factors: Vec<f64> = words.iter().map(|word| f32::from_le_bytes(*word).into()).collect();
    let alike = |expected: &[f64]| factors.iter().zip(expected).all(|(a, b)| (a - b).abs() <= TOLERANCE * b);
    if alike(&vec![1.0; factors.len()]) {
        return Ok(None);
    }
    // The longest wavelength is stretched by the whole factor.
    let factor = factors.last().copied().unwrap_or_default();
    if !alike(&llama3(head_dim, theta, factor)) {
        let text = format!("the numbers of tensor {FACTORS} are not those of a known Llama 3");
        return Err(GgufError::NotSupported(text));
    }
    Ok(Some(json!({
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": ORIGINAL_CONTEXT,
    })))
}

/// Llama 3.1's factors: 1 for wavelengths below a quarter of the original context, the whole factor above all of
/// it, and between them a mean weighted by how often the wave fits.
fn llama3(head_dim: u64, theta: f64, factor: f64) -> Vec<f64> {
    let waves = |pair: u64| ORIGINAL_CONTEXT as f64 / (TAU * theta.powf((2 * pair) as f64 / head_dim as f64));
    let smooth = |waves: f64| ((waves - 1.0) / (4.0 - 1.0)).clamp(0.0, 1.0);
    (0..head_dim / 2).map(|pair| smooth(waves(pair))).map(|s| 1.0 / ((1.0 - s) / factor + s)).collect()
}

#[cfg(test)]
#[path = "rope_tests.rs"]
mod tests;
