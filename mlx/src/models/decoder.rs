//! What nearly all architectures have around their blocks: the embedding before, the norm and the head after them.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, Dtype, ops};

use super::{Facts, Model};
use crate::array::scalar;
use crate::cache::{Batch, Cache, LayerCache};
use crate::config::sizes::Sizes;
use crate::error::Result;
use crate::layers::attention::soft_cap;
use crate::layers::embedding::Embedding;
use crate::layers::head::Head;
use crate::layers::norm::RmsNorm;
use crate::layers::rope::Offset;
use crate::weights::Weights;

/// One layer of a decoder.
pub trait Block {
    /// `x`: `[rows, tokens, hidden]`, and so is what comes out. The first token of each row lies at its
    /// `offset`.
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array>;

    /// What the layer keeps of a sequence, empty.
    fn cache(&self) -> Cache;
}

/// What differs around the blocks.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Times this are the tokens' vectors, before the first block.
    pub embedding_scale: Option<f32>,
    /// Logits are bent to stay below this: `cap · tanh(x / cap)`.
    pub logit_cap: Option<f32>,
}

impl Around {
    /// Nothing but the head.
    pub fn plain(tied: bool) -> Self {
        Self { tied, embedding_scale: None, logit_cap: None }
    }
}

/// A model of such blocks.
pub struct Decoder<B> {
    embed_tokens: Embedding,
    layers: Vec<B>,
    norm: RmsNorm,
    head: Head,
    around: Around,
    head_dim: i32,
    vocab_size: u32,
    context: u32,
    dtype: Dtype,
}

impl<B: Block> Decoder<B> {
    /// Takes `model.embed_tokens`, what `block` takes for each layer under its path, and `lm_head`; `norm` is that after
    /// the last block.
    pub fn load(
        weights: &mut Weights,
        sizes: &Sizes,
        around: Around,
        norm: impl Fn(&mut Weights, &str) -> Result<RmsNorm>,
        block: impl Fn(&mut Weights, &str, usize) -> Result<B>,
    ) -> Result<Self> {
        // Precomputed wavelengths of older exports.
        weights.discard(|name| name.contains("rotary_emb.inv_freq"));
        let embed_tokens = Embedding::load(weights, "model.embed_tokens", sizes.vocabulary())?;
        let layers = (0..sizes.num_hidden_layers as usize)
            .map(|layer| block(weights, &format!("model.layers.{layer}"), layer))
            .collect::<Result<_>>()?;
        let norm = norm(weights, "model.norm")?;
        let head = Head::load(weights, "lm_head", sizes.vocabulary(), around.tied)?;
        let dtype = embed_tokens.forward(&crate::array::tokens(&[0]))?.dtype();
        let (head_dim, vocab_size, context) = (sizes.head_dim(), sizes.vocab_size as u32, sizes.context() as u32);
        Ok(Self { embed_tokens, layers, norm, head, around, head_dim, vocab_size, context, dtype })
    }
}

impl<B: Block> Model for Decoder<B> {
    fn hidden_of(&self, ids: &Array, batch: &mut Batch<'_>) -> MlxResult<Array> {
        let mut x = self.embed_tokens.forward(ids)?;
        if let Some(scale) = self.around.embedding_scale {
            x = ops::multiply(&x, &scalar(scale, &x)?)?;
        }
        let offset = Offset::new(batch.offsets());
        for (place, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &mut batch.layer(place), &offset)?;
        }
        self.norm.forward(&x)
    }

    fn logits(&self, hidden: &Array) -> MlxResult<Array> {
        let logits = self.head.forward(&self.embed_tokens, hidden)?;
        match self.around.logit_cap {
            Some(cap) => soft_cap(&logits, cap),
            None => Ok(logits),
        }
    }

    fn caches(&self) -> Vec<Cache> {
        self.layers.iter().map(Block::cache).collect()
    }

    fn head_dim(&self) -> i32 {
        self.head_dim
    }

    fn facts(&self) -> Facts {
        let Self { vocab_size, context, dtype, .. } = *self;
        Facts { vocab_size, context, dtype }
    }
}
