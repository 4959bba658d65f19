//! The table of architectures: what a `config.json` may name under `model_type`.
//!
//! Each lies in a file of its own, alike in shape: args, attention, MLP, block, model.

mod decoder;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma3_text;
mod gpt_oss;
mod lfm2;
mod llama;
mod ministral3;
mod mistral3;
mod mixtral;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod smollm3;

use engine::message::TokenId;
use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, Dtype};

use crate::cache::{Batch, Cache};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::weights::Weights;

/// A decoder with all its weights.
pub trait Model {
    /// The last vectors `[1, tokens, hidden]` of `ids`, of shape `[1, tokens]`, which follow what the caches hold. Lazy:
    /// a caller that evaluates only the caches pays nothing for what lies behind the last of them.
    fn hidden(&self, ids: &Array, caches: &mut [Cache]) -> MlxResult<Array> {
        self.hidden_of(ids, &mut Batch::one(caches))
    }

    /// [`Self::hidden`] of several sequences, `[rows, tokens, hidden]` of `[rows, tokens]`.
    fn hidden_of(&self, ids: &Array, batch: &mut Batch<'_>) -> MlxResult<Array>;

    /// The logits `[rows, tokens, vocabulary]` after each token, from the last vectors.
    fn logits(&self, hidden: &Array) -> MlxResult<Array>;

    /// What a sequence keeps, a cache for each layer, all empty.
    fn caches(&self) -> Vec<Cache>;

    /// Numbers of each head of keys and values.
    fn head_dim(&self) -> i32;

    /// What callers need to know.
    fn facts(&self) -> Facts;
}

/// Numbers of one model.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Every token number is below it.
    pub vocab_size: u32,
    /// Most tokens of one sequence, prompt and answer.
    pub context: u32,
    /// Type of activations.
    pub dtype: Dtype,
}

impl Facts {
    /// That a prompt or a text fits the model.
    pub fn check(self, tokens: &[TokenId]) -> Result<()> {
        let Self { context, vocab_size, .. } = self;
        if tokens.len() > context as usize {
            let count = tokens.len();
            return Err(Error::NotSupported(format!("a prompt of {count} tokens exceeds the context of {context}")));
        }
        match tokens.iter().find(|token| **token >= vocab_size) {
            Some(token) => {
                Err(Error::Internal(format!("the prompt has token {token}, but the vocabulary ends at {vocab_size}")))
            }
            None if tokens.is_empty() => Err(Error::Internal("a prompt needs a token".into())),
            None => Ok(()),
        }
    }
}

type Constructor = fn(&Config, &mut Weights) -> Result<Box<dyn Model>>;

const MODELS: [(&str, Constructor); 16] = [
    ("gemma", gemma::load),
    ("gemma2", gemma2::load),
    ("gemma3", gemma3::load),
    ("gemma3_text", gemma3_text::load),
    ("gpt_oss", gpt_oss::load),
    ("lfm2", lfm2::load),
    ("llama", llama::load),
    ("ministral3", ministral3::load),
    ("mistral", llama::load),
    ("mistral3", mistral3::load),
    ("mixtral", mixtral::load),
    ("phi3", phi3::load),
    ("qwen2", qwen2::load),
    ("qwen3", qwen3::load),
    ("qwen3_moe", qwen3_moe::load),
    ("smollm3", smollm3::load),
];

/// The constructor of the config's architecture.
pub fn find(config: &Config) -> Result<Constructor> {
    let wanted = config.model_type()?;
    let found = MODELS.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, constructor)| *constructor).ok_or_else(|| {
        let known = MODELS.map(|(name, _)| name).join(", ");
        Error::NotSupported(format!("architecture {wanted:?} is not known; known are {known}"))
    })
}

#[cfg(test)]
#[path = "models_tests.rs"]
mod tests;
