//! The one transformer, with what each `model_type` adds: biases, norms of queries and keys, joined matrices, norms after
//! each part, windows. Names and formulas are those of mlx-lm's files in `models/`.

mod attention;
mod block;

use std::rc::Rc;

use candle_core::{Device, Result as CandleResult, Tensor};
use engine::TokenId;

use self::attention::Place;
use self::block::{Block, Norm};
use crate::cache::{Account, Cache};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::rope::Rope;
use crate::weights::{Kind, Linear, Weights};

/// A loaded model.
pub struct Model {
    pub config: Config,
    pub device: Device,
    embed_tokens: Linear,
    blocks: Vec<Block>,
    norm: Norm,
    /// Absent where it is the embedding.
    lm_head: Option<Linear>,
    rope: Rope,
    /// That of layers with a window, where there are any.
    sliding: Option<(Rope, usize)>,
}

impl Model {
    /// Takes all tensors of the model.
    pub fn load(config: Config, weights: &mut Weights) -> Result<Self> {
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
        let embed_tokens = weights.linear("model.embed_tokens", [vocabulary, hidden], Kind::default())?;
        let windows = config.windows()?;
        let blocks = windows.iter().enumerate();
        let blocks = blocks.map(|(layer, window)| Block::load(weights, &config, layer, window.is_some()));
        let blocks = blocks.collect::<Result<_>>()?;
        let norm = Norm::load(weights, "model.norm", hidden, &config)?;
        let tied = weights.is_tied(&config);
        let lm_head =
            if tied { None } else { Some(weights.linear("lm_head", [vocabulary, hidden], Kind::default())?) };
        let rope = Rope::new(&config)?;
        let sliding = match windows.into_iter().flatten().next() {
            Some(window) => Some((Rope::sliding(&config)?, window)),
            None => None,
        };
        Ok(Self { rope, sliding, embed_tokens, blocks, norm, lm_head, device: weights.device.clone(), config })
    }

    /// One empty cache for each layer.
    pub fn caches(&self, account: &Rc<Account>) -> Vec<Cache> {
        self.blocks.iter().map(|_| Cache::new(account)).collect()
    }

    /// Adds `tokens` to the caches; answers the vectors after the last block, `[tokens, hidden]`.
    pub fn hidden(&self, tokens: &[TokenId], caches: &mut [Cache]) -> CandleResult<Tensor> {
        let (first, count) = (caches.first().map_or(0, Cache::len), tokens.len());
        let full = Place::new(&self.rope, first, count, None, &self.device)?;
        let sliding = match &self.sliding {
            Some((rope, window)) => Some(Place::new(rope, first, count, Some(*window), &self.device)?),
            None => None,
        };
        let mut x = self.embed_tokens.rows(&Tensor::new(tokens, &self.device)?)?;
        if let Some(scale) = self.config.embedding_scale() {
            x = (x * f64::from(scale))?;
        }
        for (block, cache) in self.blocks.iter().zip(caches) {
            let place = sliding.as_ref().filter(|_| block.slides).unwrap_or(&full);
            x = block.forward(&x, cache, place)?;
        }
        Ok(x)
    }

    /// Logits after the last of `hidden`'s tokens.
    pub fn logits(&self, hidden: &Tensor) -> Result<Vec<f32>> {
        let last = hidden.narrow(0, hidden.dim(0)? - 1, 1)?.contiguous()?;
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        let mut logits = head.forward(&self.norm.forward(&last)?)?;
        if let Some(cap) = self.config.logit_cap() {
            logits = soft_cap(&logits, cap)?;
        }
        let logits: Vec<f32> = logits.flatten_all()?.to_vec1()?;
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::Broken("the model computed NaN: its weights are damaged; download it again".into()));
        }
        Ok(logits)
    }
}

/// Bends numbers to stay below `cap`.
fn soft_cap(x: &Tensor, cap: f32) -> CandleResult<Tensor> {
    (x / f64::from(cap))?.tanh()? * f64::from(cap)
}
