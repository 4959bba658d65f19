//! `generate.text`, `generate.stream`, `generate.count_tokens`, `generate.cancel`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorData;
use crate::format::ResponseFormat;
use crate::message::Message;
use crate::models::ModelId;
use crate::named::names_its_errors;
use crate::options::{GenerationOptions, KeepAlive};
use crate::providers::{PassedOver, ProviderId, Tier};
use crate::tools::{Reasoning, Tool, ToolCall, ToolChoice};
use crate::turn::Priority;

/// Names one request; made by the daemon, as `req_3f09c1_17`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RequestId(pub String);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What to generate. Exactly one of `prompt` and `messages` is needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct GenerateRequest {
    /// Which model, by its id alone or as `provider/model`; when absent, the provider's own choice: on this machine the one
    /// resident model, else the one installed model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// Who is to answer; when absent, who has the model, else the first of `providers.list` that is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    /// How much the answer may cost, instead of `provider` and `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Whether the next provider in order is asked if one fails before its first token. Nobody else is asked otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fallback: bool,
    /// One user message, not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// A conversation, not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Message>>,
    /// How to generate.
    #[serde(default)]
    pub options: GenerationOptions,
    /// What the model may call, at most 128. Not together with a `response_format`, unless it is `text`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether it calls them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tool_choice: ToolChoice,
    /// Whether it may reason before it answers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reasoning: Reasoning,
    /// What the answer must match; anything when absent. Not together with `stop_sequences`, unless it is `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
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
    /// When it is to be over, from its arrival on, 1 to 86400000 (a day): before the first token it
    /// fails with `timeout`, after that it ends with what it has and the reason `deadline`. As long as it takes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub deadline_ms: Option<u64>,
    /// The caller's own name for this request, at most 128 bytes; echoed in results, events, status and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The caller's own name for itself, at most 64 bytes, for `usage.get`; the name of its program when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

names_its_errors!(GenerateRequest);

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GenerateResult {
    /// Which request.
    pub request_id: RequestId,
    /// Echo of the caller's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The model that answered.
    pub model: ModelId,
    /// The provider that answered.
    #[serde(default)]
    pub provider: ProviderId,
    /// Who was asked before, with `fallback`, and why it is not they who answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// The answer.
    pub text: String,
    /// Of each token, where `options.logprobs` asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprobs>>,
    /// What the model reasoned before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What the model called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What the provider names as its reason, where it blocked the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// The other samples, where `options.n` asks for several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Sample>,
    /// Tokens counted.
    pub usage: Usage,
    /// Times measured.
    pub timings: Timings,
}

/// Another answer to the same prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// The answer.
    pub text: String,
    /// What the model reasoned before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What the model called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Of each token, where `options.logprobs` asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprobs>>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Log-probabilities at one token, as the model computed them: before penalties, filters and temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenLogprobs {
    /// The token that was chosen.
    #[serde(flatten)]
    pub chosen: TokenLogprob,
    /// The likeliest tokens, the likeliest first.
    pub top: Vec<TokenLogprob>,
}

/// One token and its log-probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenLogprob {
    /// Its number.
    pub token: u32,
    /// Its text by itself; a token that is part of a character shows as the replacement character.
    pub text: String,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

/// What `generate.stream` sends, in this order: `queued` for each provider that is asked, any number of `loading` and of
/// further `queued`, one `started`, any number of
/// `reasoning`, `text`, `tool_call` and `tool_arguments`, for each of several samples one `sample_finished`, then one `finished` or `failed`. A request that ends early
/// skips what lies between; nothing follows its last event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GenerateEvent {
    /// The request is taken; it waits for its model or for others. Told again when its place in the queue gets better.
    Queued {
        /// Names the request from here on.
        request_id: RequestId,
        /// Echo of the caller's name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace_id: Option<String>,
        /// The model that will answer.
        model: ModelId,
        /// The provider that will answer.
        #[serde(default)]
        provider: ProviderId,
        /// Who was asked before, with `fallback`, and why it is not they who answer.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        passed_over: Vec<PassedOver>,
        /// Waiting requests that begin before this one as things stand; 0 where a provider does not tell.
        position: u32,
    },
    /// The model is being loaded.
    Loading {
        /// Bytes in memory so far.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// The model works on this request.
    Started {
        /// Tokens of the prompt, template included; 0 where a provider tells them at the end only.
        prompt_tokens: u32,
        /// The seed of the draws, chosen by the daemon where the request gave none; absent where a provider draws without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
    },
    /// The next piece of the answer: whole characters, never empty.
    Text {
        /// Of which of `options.n` samples; absent for the first.
        #[serde(default, skip_serializing_if = "is_default")]
        sample: u32,
        /// To be appended.
        text: String,
    },
    /// A token's log-probabilities, where `options.logprobs` asks for them: before the text that it ends.
    Logprobs {
        /// Of which of `options.n` samples; absent for the first.
        #[serde(default, skip_serializing_if = "is_default")]
        sample: u32,
        /// They.
        #[serde(flatten)]
        logprobs: TokenLogprobs,
    },
    /// The next piece of what the model reasons: whole characters, never empty.
    Reasoning {
        /// Of which of `options.n` samples; absent for the first.
        #[serde(default, skip_serializing_if = "is_default")]
        sample: u32,
        /// To be appended.
        text: String,
    },
    /// The model calls a tool; its arguments follow.
    ToolCall {
        /// Of which of `options.n` samples; absent for the first.
        #[serde(default, skip_serializing_if = "is_default")]
        sample: u32,
        /// 0 for the first call of the answer, then 1, …
        index: u32,
        /// Names the call.
        id: String,
        /// Which tool.
        name: String,
    },
    /// The next piece of the arguments of a call; together they are one JSON object.
    ToolArguments {
        /// Of which of `options.n` samples; absent for the first.
        #[serde(default, skip_serializing_if = "is_default")]
        sample: u32,
        /// Which call.
        index: u32,
        /// To be appended.
        text: String,
    },
    /// One of several samples is complete.
    SampleFinished {
        /// Of which of `options.n` samples; absent for the first.
        #[serde(default, skip_serializing_if = "is_default")]
        sample: u32,
        /// Why it ended.
        finish_reason: FinishReason,
    },
    /// The answer is complete, with all its samples.
    Finished {
        /// Why it ended; of several samples, why the first did.
        finish_reason: FinishReason,
        /// What the provider names as its reason, where it blocked the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocked: Option<String>,
        /// Tokens counted.
        usage: Usage,
        /// Times measured.
        timings: Timings,
    },
    /// The answer broke off.
    Failed {
        /// Why, with the same words and numbers as an error of a call.
        error: ErrorData,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done, a stop sequence was found, or nothing may follow what `response_format` asks for.
    Stop,
    /// The model was done and has called tools.
    ToolCalls,
    /// `max_tokens` were generated.
    Length,
    /// It was cancelled.
    Cancelled,
    /// `deadline_ms` were over.
    Deadline,
    /// The provider withheld the rest of it, for what it says or for its prompt.
    Blocked,
}

/// Tokens of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Of the prompt, template included; 0 where a server does not tell.
    pub prompt_tokens: u32,
    /// Of the answer, all samples together, without stop tokens; the pieces that came where a server does not tell.
    pub completion_tokens: u32,
    /// Of the prompt's, those that were kept from earlier requests of whatever app and not computed again.
    #[serde(default)]
    pub cached_tokens: u32,
    /// Of the answer's, those that were guessed and right, and so came several in one step; absent where there are none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub speculated_tokens: u32,
}

/// Times of one request, in milliseconds unless named otherwise. They follow one another and add up to `total_ms`
/// with what the daemon itself needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// Waited for other requests.
    pub queue_ms: f64,
    /// Waited for the model to load; 0 when it was warm.
    pub load_ms: f64,
    /// Computed the prompt, up to the first token.
    pub prefill_ms: f64,
    /// Computed the tokens after the first.
    pub decode_ms: f64,
    /// From the request's arrival to its first token.
    pub first_token_ms: f64,
    /// From the request's arrival to its end.
    pub total_ms: f64,
    /// Prompt tokens computed per second.
    pub prefill_tokens_per_s: f64,
    /// Tokens after the first, per second; 0 when there were none.
    pub decode_tokens_per_s: f64,
}

/// How long a prompt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenCount {
    /// The model whose tokens were counted.
    pub model: ModelId,
    /// Tokens of the prompt, chat template included.
    pub prompt_tokens: u32,
    /// Tokens that the model can hold, prompt and answer together; absent where its files do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
}

/// Which request to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Of any connection of the same user.
    pub request_id: RequestId,
}

/// Whether there was something to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// False when the request had ended or never was.
    pub cancelled: bool,
}
