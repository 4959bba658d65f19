//! `embeddings.create`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::generate::{RequestId, Timings, is_default};
use crate::models::ModelId;
use crate::named::names_its_errors;
use crate::options::KeepAlive;
use crate::providers::ProviderId;
use crate::turn::Priority;

/// Most texts of one request.
pub const MOST_INPUTS: usize = 2048;

/// Texts of which vectors are wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct EmbeddingsRequest {
    /// Which model, by its id alone or as `provider/model`; when absent, the provider's own choice: on this machine the one
    /// resident model, else the one installed model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// Who is to make them; when absent, who has the model, else this machine: vectors of different models do not compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    /// The texts, 1 to 2048, none empty; each must fit the model's context.
    pub input: Vec<String>,
    /// How the vectors of a text's tokens become one; as the model's files say when absent, else their mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Whether vectors get the length 1, so that their dot product is the cosine of their angle.
    #[serde(default = "yes")]
    pub normalize: bool,
    /// How long the model stays warm afterwards; the daemon's own setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<KeepAlive>,
    /// Whose turn it is where not all can run at once, on this machine's engines; a server has an order of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// How long it may wait for its model and for other requests before an engine takes it, 1 to 86400000 (a day); after
    /// that it fails with `timeout`. For ever when absent. What a server does with it is no waiting here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub queue_timeout_ms: Option<u64>,
    /// When it is to be over, from its arrival on, 1 to 86400000 (a day): it then fails with
    /// `timeout`. As long as it takes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub deadline_ms: Option<u64>,
    /// The caller's own name for this request, at most 128 bytes; echoed in the result, in status and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The caller's own name for itself, at most 64 bytes, for `usage.get`; the name of its program when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

names_its_errors!(EmbeddingsRequest);

fn yes() -> bool {
    true
}

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token: what `[CLS]` stands for in BERT.
    First,
    /// That of the last token.
    Last,
}

/// A vector for each text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmbeddingsResult {
    /// Which request.
    pub request_id: RequestId,
    /// Echo of the caller's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The model that made them.
    pub model: ModelId,
    /// The provider that made them.
    #[serde(default)]
    pub provider: ProviderId,
    /// In the order of the texts; all of one length.
    pub embeddings: Vec<Vec<f32>>,
    /// Tokens of all texts together.
    pub prompt_tokens: u32,
    /// Times measured; what belongs to answers is 0.
    pub timings: Timings,
}
