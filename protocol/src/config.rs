//! `daemon.config`, `daemon.reload`: what the daemon is set to, and where that comes from.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the daemon is set to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Configuration {
    /// The file with settings.
    pub file: PathBuf,
    /// Whether that file was there when it was read last.
    pub is_written: bool,
    /// Every setting.
    pub settings: Vec<Setting>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its name in the file.
    pub key: String,
    /// What holds, as the file would say it.
    pub value: Value,
    /// Where that is from.
    pub source: SettingSource,
    /// The variable or the option that it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The line of the file that it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Whether a new value is taken at the next start only.
    pub needs_restart: bool,
    /// What the next start will take, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_restart: Option<Value>,
}

/// Where a value is from; each goes before those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    /// It comes with the daemon.
    Default,
    /// The file.
    File,
    /// A variable of the daemon's environment.
    Environment,
    /// An option that the daemon was started with.
    Option,
}

/// What came of reading the file again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The file with settings.
    pub file: PathBuf,
    /// Settings whose new value holds now.
    pub changed: Vec<String>,
    /// Settings whose new value will hold after the next start.
    pub needs_restart: Vec<String>,
}
