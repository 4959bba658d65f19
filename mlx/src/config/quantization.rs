//! Which ways of quantizing are known. The numbers themselves are read off the tensors' shapes, which cannot disagree
//! with the file.

use serde_json::Value;

use super::Config;
use crate::error::{Error, Result};

/// The one way MLX's `scales` and `biases` are read here: `weight ≈ scale · bits + bias` by group.
const MODE: &str = "affine";

/// Refuses what another program quantized, and modes other than affine, at the top and for single layers.
pub fn check(config: &Config) -> Result<()> {
    // A file that `mlx-lm` wrote has both keys with the same content; others have only the second.
    let Some(settings) = config.get("quantization").or_else(|| config.get("quantization_config")) else {
        return Ok(());
    };
    let Some(entries) = settings.as_object() else {
        return Err(config.broken("`quantization` is not an object"));
    };
    if let Some(method) = entries.get("quant_method") {
        return Err(not_supported(config, "quantization", method));
    }
    check_mode(config, "quantization", settings)?;
    entries.iter().filter(|(_, entry)| entry.is_object()).try_for_each(|(path, entry)| check_mode(config, path, entry))
}

fn check_mode(config: &Config, path: &str, settings: &Value) -> Result<()> {
    match settings.get("mode") {
        None | Some(Value::Null) => Ok(()),
        Some(mode) if mode == MODE => Ok(()),
        Some(mode) => Err(not_supported(config, path, mode)),
    }
}

fn not_supported(config: &Config, path: &str, way: &Value) -> Error {
    let file = config.path.display();
    Error::NotSupported(format!("{file}: {path} of kind {way} is not known, only MLX's \"{MODE}\""))
}
