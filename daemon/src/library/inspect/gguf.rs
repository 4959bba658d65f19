//! A GGUF file in a model's folder, which Candle runs as it is.

use std::path::Path;

use super::Condition;
use crate::library::gguf::{self, GgufError};

/// Whether a file of this name is one.
pub(super) fn is_gguf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "gguf")
}

/// Checks that there is one file, that it is whole, and that an engine reads it.
pub(super) fn whole(folder: &Path, names: &[&str], architecture: &str) -> Result<(), Condition> {
    let [name] = names else {
        return Err(Condition::Broken(format!(
            "there are {} GGUF files, of which one is the model: remove the others",
            names.len()
        )));
    };
    if !engine::CANDLE_ARCHITECTURES.contains(&architecture) {
        return Err(Condition::NotSupported(format!(
            "config.json says model_type {architecture:?}, of which no engine here runs GGUF files, only of {}: choose \
             a version in safetensors",
            engine::CANDLE_ARCHITECTURES.join(", ")
        )));
    }
    let gguf = gguf::open(&folder.join(name)).map_err(|error| match error {
        GgufError::NotSupported(why) => Condition::NotSupported(format!("{name}: {why}")),
        error => Condition::Broken(format!("{name}: {error}: download the model again")),
    })?;
    gguf::unknown(&gguf.header).map_or(Ok(()), |tensor| {
        let (tensor, encoding) = (&tensor.name, tensor.encoding);
        let words = format!("{name}: tensor {tensor} is {encoding}, which no engine here multiplies with: choose Q4_K");
        Err(Condition::NotSupported(words))
    })
}
