//! `config.json`: read once per load, checked here and in the file of the model it names.
//!
//! Numbers in it become shapes and loop counts, so none is used before it was found to lie in its range.

pub mod quantization;
pub mod rope;
pub mod sizes;
pub mod windows;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::quantization::Layers;
use crate::error::{Error, Result};

/// Largest file that is read: per-layer quantization of a large model takes a few hundred kilobytes.
const MAX_BYTES: u64 = 16 << 20;

/// The parsed file.
pub struct Config {
    path: PathBuf,
    json: Value,
    quantization: Layers,
}

impl Config {
    /// Reads the file in `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let broken = |why: String| Error::Broken(format!("{}: {why}", path.display()));
        let bytes = std::fs::metadata(&path).map_err(|error| broken(error.to_string()))?.len();
        if bytes > MAX_BYTES {
            return Err(broken(format!("{bytes} bytes are more than any model's config has")));
        }
        let text = std::fs::read(&path).map_err(|error| broken(error.to_string()))?;
        let json = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        let mut config = Self { path, json, quantization: Layers::new() };
        config.quantization = quantization::read(&config)?;
        Ok(config)
    }

    /// The name of the architecture.
    pub fn model_type(&self) -> Result<&str> {
        self.json["model_type"].as_str().ok_or_else(|| self.broken("no text under `model_type`"))
    }

    /// What it says of the quantization of single layers.
    pub fn quantization(&self) -> &Layers {
        &self.quantization
    }

    /// The fields that an architecture knows; others are ignored.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.json).map_err(|error| self.broken(&error.to_string()))
    }

    /// The config with `defaults` for the keys that it lacks.
    pub fn or(&self, defaults: Value) -> Self {
        let mut json = defaults;
        for (key, value) in self.json.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            json[key] = value.clone();
        }
        self.with(json)
    }

    /// The config with `values` for their keys, whatever it says of them.
    pub fn and(&self, values: Map<String, Value>) -> Self {
        let mut json = self.json.clone();
        for (key, value) in values {
            json[key] = value;
        }
        self.with(json)
    }

    /// The config of a part, which stands as an object under `key`.
    pub fn part(&self, key: &str) -> Result<Self> {
        match self.json.get(key) {
            Some(part) if part.is_object() => Ok(self.with(part.clone())),
            _ => Err(self.broken(&format!("no object under `{key}`"))),
        }
    }

    fn with(&self, json: Value) -> Self {
        Self { path: self.path.clone(), json, quantization: self.quantization.clone() }
    }

    /// The value under `key`, unless it is absent or null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    /// That the file contradicts itself.
    pub fn broken(&self, why: &str) -> Error {
        Error::Broken(format!("{}: {why}", self.path.display()))
    }

    /// That `value` lies in 1 to `most`.
    pub fn check(&self, key: &str, value: i32, most: i32) -> Result<()> {
        if (1..=most).contains(&value) {
            return Ok(());
        }
        Err(self.broken(&format!("{key} is {value}, but must lie in 1 to {most}")))
    }

    /// That `value` is a number above 0.
    pub fn check_positive(&self, key: &str, value: f32) -> Result<()> {
        if value.is_finite() && value > 0.0 {
            return Ok(());
        }
        Err(self.broken(&format!("{key} is {value}, but must be a number above 0")))
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
