//! How much memory something may take.

use serde_json::{Value as Json, json};
use toml::Value as Toml;

use super::{Kind, bytes, time_in};

/// Memory of all models together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelMemory {
    /// What the device recommends, or else this machine's share.
    Auto,
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of this machine's.
    Percent(u64),
}

/// Memory of the prefixes that an engine keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixCache {
    /// An eighth of what models may take.
    Auto,
    /// So many bytes; 0 for none.
    Bytes(u64),
}

impl ModelMemory {
    /// In bytes; `None` for what the device recommends. `machine` tells how many there are.
    pub fn bytes(self, machine: impl FnOnce() -> u64) -> Option<u64> {
        match self {
            Self::Auto => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Percent(percent) => Some(machine() / 100 * percent),
        }
    }
}

impl PrefixCache {
    /// In bytes, where models may take so many.
    pub fn bytes(self, models: u64) -> u64 {
        match self {
            Self::Auto => models / 8,
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Kind for ModelMemory {
    const EXPECTED: &'static str =
        "a number of bytes, such as 800M or 12G, a share of this machine's, such as 60%, or auto";

    fn of_text(text: &str) -> Option<Self> {
        if text == "auto" {
            return Some(Self::Auto);
        }
        let Some(percent) = text.strip_suffix('%') else { return bytes(text).map(Self::Bytes) };
        percent.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Self::Percent)
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(&time_in(value)?)
    }

    fn to_toml(&self) -> Toml {
        match self {
            Self::Auto => "auto".into(),
            Self::Bytes(bytes) => Toml::Integer(*bytes as i64),
            Self::Percent(percent) => format!("{percent}%").into(),
        }
    }

    fn schema() -> Json {
        json!({ "oneOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^(auto|[0-9]+[kKMG]?|[0-9]+%)$" },
        ] })
    }
}

impl Kind for PrefixCache {
    const EXPECTED: &'static str = "a number of bytes, such as 800M or 2G, none, or auto";

    fn of_text(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "none" => Some(Self::Bytes(0)),
            _ => bytes(text).map(Self::Bytes),
        }
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(&time_in(value)?)
    }

    fn to_toml(&self) -> Toml {
        match self {
            Self::Auto => "auto".into(),
            Self::Bytes(0) => "none".into(),
            Self::Bytes(bytes) => Toml::Integer(*bytes as i64),
        }
    }

    fn schema() -> Json {
        json!({ "oneOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^(auto|none|[0-9]+[kKMG]?)$" },
        ] })
    }
}
