//! What an engine is asked to do: tokens after a prompt, or vectors of texts.

use serde::{Deserialize, Serialize};

use super::{SequenceId, TokenId};
use crate::grammar::Grammar;

/// One piece of work, a sequence of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Tokens after a prompt.
    Generate(Submission),
    /// Vectors of texts.
    Embed(Embedding),
}

impl Work {
    /// Its name in every later message.
    pub fn sequence(&self) -> SequenceId {
        match self {
            Self::Generate(submission) => submission.sequence,
            Self::Embed(embedding) => embedding.sequence,
        }
    }

    /// Tokens that it brings.
    pub fn prompt_tokens(&self) -> u32 {
        match self {
            Self::Generate(submission) => submission.prompt.len() as u32,
            Self::Embed(embedding) => embedding.inputs.iter().map(|input| input.len() as u32).sum(),
        }
    }

    /// Most events that carry a result of it: tokens and ends of samples, or vectors.
    pub fn results(&self) -> usize {
        match self {
            Self::Generate(submission) => (submission.max_tokens as usize + 1) * submission.samples as usize,
            Self::Embed(embedding) => embedding.inputs.len(),
        }
    }
}

/// Texts of which vectors are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedding {
    /// Names the work in every later message.
    pub sequence: SequenceId,
    /// The texts, each at least one token.
    pub inputs: Vec<Vec<TokenId>>,
    /// How one vector is made of those of the tokens.
    pub pooling: Pooling,
}

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first.
    First,
    /// The last.
    Last,
}

/// One sequence to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Names the sequence in every later message.
    pub sequence: SequenceId,
    /// The whole prompt, at least one token.
    pub prompt: Vec<TokenId>,
    /// Most tokens to generate, at least one.
    pub max_tokens: u32,
    /// How often the prompt is answered, at least once. It is computed once; sample `i` draws by the seed plus `i`.
    pub samples: u32,
    /// Tokens that end the sequence; they are not reported.
    pub stop_tokens: Vec<TokenId>,
    /// Log-probabilities are reported with each token, and those of so many likeliest ones.
    pub logprobs: Option<u32>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// What the text of the tokens must match; `None` leaves it free.
    pub grammar: Option<Grammar>,
    /// In how many bits keys and values are kept; `None` for the model's own type.
    pub kv_bits: Option<KvBits>,
    /// Whether tokens are guessed.
    pub speculation: Speculation,
}

impl Submission {
    /// The likeliest `max_tokens` tokens after `prompt`, ended by none.
    pub fn greedy(sequence: SequenceId, prompt: &[TokenId], max_tokens: u32) -> Self {
        Self {
            sequence,
            prompt: prompt.to_vec(),
            max_tokens,
            samples: 1,
            stop_tokens: Vec::new(),
            logprobs: None,
            sampling: Sampling::greedy(),
            grammar: None,
            kv_bits: None,
            speculation: Speculation::Off,
        }
    }
}

/// Whether the next tokens are guessed and several computed in one step. What is given is the same, but for rounding where
/// a device has other kernels for several positions than for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speculation {
    /// Where the engine can, in the way that pays best and as far as it pays, which is measured.
    #[default]
    Auto,
    /// Never.
    Off,
    /// As they followed when the last tokens came before, wherever they did.
    Lookup,
    /// By the model's draft, always.
    Draft,
}

/// Bits of each number of the keys and values that a sequence keeps, with a scale and a bias for each group of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvBits {
    /// A bit more than a quarter of 16-bit numbers.
    Four,
    /// A bit more than half of 16-bit numbers.
    Eight,
}

impl KvBits {
    /// As a number.
    pub fn count(self) -> u32 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// How the next token is chosen. The order is mlx-lm's: logit bias, repetition, presence and frequency penalty on
/// the logits; then on the untempered log-probabilities `top_p`, `min_p`, `top_k`; then a draw at `temperature`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// Smallest set of tokens with this probability together; 1 keeps all.
    pub top_p: f32,
    /// Least probability as a share of the likeliest token's; 0 keeps all.
    pub min_p: f32,
    /// Number of likeliest tokens kept; 0 keeps all.
    pub top_k: u32,
    /// Divides the logits of tokens among the last 20 (multiplies negative ones); 1 changes nothing.
    pub repetition_penalty: f32,
    /// Subtracted once from the logit of each token among the last 20; 0 changes nothing.
    pub presence_penalty: f32,
    /// Subtracted from a logit for each time its token stands among the last 20; 0 changes nothing.
    pub frequency_penalty: f32,
    /// Drops the likeliest tokens now and then.
    pub xtc: Option<Xtc>,
    /// Added to the logits of single tokens.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Makes the draws reproducible.
    pub seed: u64,
}

impl Sampling {
    /// Always the likeliest token; every other setting changes nothing.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            min_p: 0.0,
            top_k: 0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            xtc: None,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

/// Exclusion of the top choices, between `min_p` and `top_k`: mlx-lm's `sample_utils.apply_xtc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Xtc {
    /// How often it happens to a draw.
    pub probability: f32,
    /// Of the tokens above this probability, only the least likely stays.
    pub threshold: f32,
    /// Tokens that always stay.
    pub spared: Vec<TokenId>,
}
