//! `providers.list`, `providers.get`, `providers.configure`, `providers.remove`, `providers.test`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorData;
use crate::models::{ModelId, ModelType};
use crate::named::names_its_errors;

/// The provider that is this daemon's engine on MLX.
pub const MLX: &str = "mlx";

/// The provider that is this daemon's engine on Candle.
pub const CANDLE: &str = "candle";

/// Who answers: `mlx`, `candle`, `gemini`, or the name that the user gave a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ProviderId(pub String);

impl ProviderId {
    /// Whether it is one of this daemon's engines.
    pub fn is_engine(&self) -> bool {
        [MLX, CANDLE].contains(&self.0.as_str())
    }

    /// Whether this can name a provider: 1 to 32 lower-case letters, digits, `-` and `_`, a letter first.
    pub fn is_valid(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        self.0.len() <= 32
            && self.0.starts_with(|first: char| first.is_ascii_lowercase())
            && self.0.bytes().all(allowed)
    }
}

impl Default for ProviderId {
    /// Who answered before there were others.
    fn default() -> Self {
        Self(MLX.into())
    }
}

impl From<&str> for ProviderId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl std::fmt::Display for ProviderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What speaks for a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// An engine of this daemon, on MLX.
    Mlx,
    /// An engine of this daemon, on Candle.
    Candle,
    /// Google's Gemini API.
    Gemini,
    /// A server with `OpenAI`'s API: `OpenAI`'s own, vLLM, `SGLang`, llama.cpp, LM Studio and others.
    Openai,
}

/// How much an answer may cost; which models that means is set in `providers.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The cheapest that will do.
    Budget,
    /// Between the two.
    Balanced,
    /// The best there is.
    Capable,
}

/// One who answers, and whether it can.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// Its name in requests.
    pub id: ProviderId,
    /// For people.
    pub name: String,
    /// What speaks for it.
    pub kind: ProviderKind,
    /// Whether what is said to it stays on this machine. A server is local when its address is a loopback address.
    #[serde(rename = "type")]
    pub place: ModelType,
    /// Whether it can be asked.
    pub availability: Availability,
    /// What it can do; some of its models may do less.
    pub capabilities: ProviderCapabilities,
    /// Whether it has a key; the key itself is never told.
    pub key: KeyStatus,
    /// Where it is; absent for an engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Answers requests that name the provider and no model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<ModelId>,
    /// What it has, sorted: of an engine the installed models; of a server what it told last, absent until it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelId>>,
}

/// Whether a provider can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Availability {
    /// Whether it can, as far as is known without asking it.
    pub is_available: bool,
    /// Why it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Unavailable>,
    /// The same in one sentence with the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Why a provider cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// It has no key.
    NotConfigured,
    /// This machine cannot run it.
    NotSupportedHere,
    /// It did not answer when it was last asked.
    Unreachable,
    /// The policy `local_only` keeps everything on this machine.
    NotAllowed,
}

/// What a provider can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "a list of what is and what is not, as it stands on the wire")]
pub struct ProviderCapabilities {
    /// Answers piece by piece.
    pub stream: bool,
    /// Answers that match a JSON schema.
    pub schema: bool,
    /// Calls of tools.
    pub tools: bool,
    /// Vectors of texts.
    pub embeddings: bool,
    /// Log-probabilities of tokens.
    pub logprobs: bool,
}

/// Whether a provider has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// It needs none and has none.
    NotNeeded,
    /// It needs one and has none.
    Missing,
    /// From the environment.
    Environment,
    /// From the keychain of the system.
    Keychain,
    /// From a file that only its user can read.
    File,
}

/// All providers, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderList {
    /// Available or not.
    pub providers: Vec<Provider>,
    /// Whether the policy holds that nothing leaves this machine. No request overrides it.
    pub local_only: bool,
    /// Which models each tier means, the preferred first: a provider, or `provider/model`.
    pub tiers: BTreeMap<Tier, Vec<String>>,
}

/// Which provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderRef {
    /// Its id.
    pub provider: ProviderId,
}

/// What is to change of a provider; what is absent stays. An id that is new adds a server, with `base_url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct ConfigureProvider {
    /// Which, or the new one's name: 1 to 32 lower-case letters, digits, `-` and `_`, a letter first.
    pub provider: ProviderId,
    /// For people, at most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `http` or `https`; a path is kept: `http://127.0.0.1:8000/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Answers requests that name the provider and no model; an empty one takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<ModelId>,
    /// More headers of each request, at most 16; they replace those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// Its key, which is kept apart from the rest and never told again; an empty one takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// A key on its way to the daemon: its own debug form does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Key(pub String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

names_its_errors!(ConfigureProvider);

/// Whether there was something to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedProvider {
    /// False when there was no such server.
    pub removed: bool,
}

/// What came of asking a provider for its models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderTest {
    /// Which.
    pub provider: ProviderId,
    /// Whether it answered, and took the key.
    pub ok: bool,
    /// From the question to the whole answer, in milliseconds.
    pub latency_ms: f64,
    /// How many models it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<u32>,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorData>,
}

/// A provider that was asked before the one that answers, and why it did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PassedOver {
    /// Which.
    pub provider: ProviderId,
    /// Why.
    pub error: ErrorData,
}
