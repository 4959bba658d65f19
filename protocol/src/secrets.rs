//! `secrets.list`, `secrets.set`, `secrets.remove`: what workflows use by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::named::names_its_errors;
use crate::providers::{Key, KeyStatus};

/// What a secret is called: 1 to 64 lower-case letters, digits, `-` and `_`, a letter first. The key of a provider is the
/// secret of that provider's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretName(pub String);

impl SecretName {
    /// Whether this can name a secret.
    pub fn is_valid(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        self.0.len() <= 64
            && self.0.starts_with(|first: char| first.is_ascii_lowercase())
            && self.0.bytes().all(allowed)
    }

    /// The variable of the daemon's environment that goes before any other place.
    pub fn variable(&self) -> String {
        format!("TALKIE_KEY_{}", self.0.to_ascii_uppercase().replace('-', "_"))
    }
}

impl From<&str> for SecretName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl std::fmt::Display for SecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret and where it is from. The secret itself is never told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// What it is called.
    pub name: SecretName,
    /// Where it is kept.
    pub from: KeyStatus,
}

/// All secrets, by name. One of the environment has the name that its variable stands for, with `-` written as `_`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretList {
    /// Each once, from where it is taken.
    pub secrets: Vec<Secret>,
}

/// A secret to keep, in place of the one of that name, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct SetSecret {
    /// What it is called.
    pub name: SecretName,
    /// The secret: 1 to 4096 letters, digits and signs of ASCII without spaces.
    pub value: Key,
}

names_its_errors!(SetSecret);

/// Which secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// What it is called.
    pub name: SecretName,
}

/// Whether there was something to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedSecret {
    /// False when no keychain and no file had it.
    pub removed: bool,
}
