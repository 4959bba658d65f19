//! The numbers that every decoder's config has, checked before one becomes a shape or a loop count.

use serde::Deserialize;

use super::Config;
use crate::error::Result;
use crate::layers::attention::Heads;
use crate::layers::matrix::Size;

/// The longest context that is believed, and the one where a config names none.
const MAX_CONTEXT: i32 = 1 << 24;

/// Widths and counts, under the names of `config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Sizes {
    /// Numbers of a token's vector.
    pub hidden_size: i32,
    /// Blocks.
    pub num_hidden_layers: i32,
    /// Numbers between the two halves of an MLP.
    pub intermediate_size: i32,
    num_attention_heads: i32,
    num_key_value_heads: Option<i32>,
    head_dim: Option<i32>,
    /// Added to the mean of squares by norms.
    pub rms_norm_eps: f32,
    /// Tokens.
    pub vocab_size: i32,
    max_position_embeddings: Option<i32>,
    tie_word_embeddings: Option<bool>,
}

/// What an architecture has where its config says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Absent {
    /// `head_dim`; `None` for the hidden size shared among the heads.
    pub head_dim: Option<i32>,
    /// `max_position_embeddings`; `None` for as long as one likes.
    pub context: Option<i32>,
}

impl Sizes {
    /// The config's, each in its range.
    pub fn read(config: &Config, absent: Absent) -> Result<Self> {
        let mut sizes: Self = config.args()?;
        sizes.head_dim = sizes.head_dim.or(absent.head_dim);
        sizes.max_position_embeddings = sizes.max_position_embeddings.or(absent.context);
        sizes.check(config)?;
        Ok(sizes)
    }

    fn check(&self, config: &Config) -> Result<()> {
        config.check("hidden_size", self.hidden_size, 1 << 17)?;
        config.check("num_hidden_layers", self.num_hidden_layers, 1000)?;
        config.check("intermediate_size", self.intermediate_size, 1 << 20)?;
        config.check("num_attention_heads", self.num_attention_heads, 1024)?;
        config.check("num_key_value_heads", self.kv_heads().count, self.num_attention_heads)?;
        config.check("head_dim", self.head_dim(), 1024)?;
        config.check("vocab_size", self.vocab_size, 1 << 22)?;
        config.check("max_position_embeddings", self.context(), MAX_CONTEXT)?;
        config.check_positive("rms_norm_eps", self.rms_norm_eps)?;
        if self.num_attention_heads % self.kv_heads().count != 0 || self.head_dim() % 2 != 0 {
            return Err(config.broken("heads cannot be shared evenly, or have an odd number of dimensions"));
        }
        Ok(())
    }

    /// Heads of the queries.
    pub fn heads(&self) -> Heads {
        Heads { count: self.num_attention_heads, dims: self.head_dim() }
    }

    /// Heads of keys and values, each shared by as many of the queries.
    pub fn kv_heads(&self) -> Heads {
        Heads { count: self.num_key_value_heads.unwrap_or(self.num_attention_heads), dims: self.head_dim() }
    }

    /// Numbers of a head.
    pub fn head_dim(&self) -> i32 {
        self.head_dim.unwrap_or_else(|| self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Most tokens of a sequence.
    pub fn context(&self) -> i32 {
        self.max_position_embeddings.unwrap_or(MAX_CONTEXT)
    }

    /// Whether the head is the embedding; `absent` where the config does not say.
    pub fn is_tied(&self, absent: bool) -> bool {
        self.tie_word_embeddings.unwrap_or(absent)
    }

    /// The matrix of tokens and their vectors.
    pub fn vocabulary(&self) -> Size {
        Size { rows: self.vocab_size, columns: self.hidden_size }
    }
}
