//! Attention: what each token takes from those before it, all of them or a window.

mod single;

use candle_core::{D, Device, Result as CandleResult, Tensor};
use candle_nn::ops;

use self::single::Single;
use super::block::Norm;
use super::soft_cap;
use crate::cache::Cache;
use crate::config::Config;
use crate::error::Result;
use crate::rope::{Angles, Rope};
use crate::weights::{Kind, Linear, Weights};

pub struct Attention {
    qkv: Qkv,
    o_proj: Linear,
    /// Of queries and keys, where there are any.
    norms: Option<[Norm; 2]>,
    heads: usize,
    kv_heads: usize,
    dims: usize,
    scale: f64,
    cap: Option<f32>,
}

enum Qkv {
    Apart([Linear; 3]),
    Joined(Linear),
}

/// What one step is about, the same in all layers that see as far.
pub struct Place {
    angles: Angles,
    /// `[tokens, all tokens]` with −∞ for what a token does not see; absent where there is one token.
    mask: Option<Tensor>,
    window: Option<usize>,
}

impl Place {
    /// Of `count` tokens after `first` others.
    pub fn new(rope: &Rope, first: usize, count: usize, window: Option<usize>, device: &Device) -> CandleResult<Self> {
        let mask = if count > 1 { Some(mask(first, count, window, device)?) } else { None };
        Ok(Self { angles: rope.angles(first, count, device)?, mask, window })
    }

    /// What a single token sees, which needs no mask.
    fn seen(&self, [keys, values]: [Tensor; 2]) -> CandleResult<[Tensor; 2]> {
        let all = keys.dim(1)?;
        match self.window.filter(|window| self.mask.is_none() && *window < all) {
            Some(window) => Ok([keys.narrow(1, all - window, window)?, values.narrow(1, all - window, window)?]),
            None => Ok([keys, values]),
        }
    }
}

impl Attention {
    pub fn load(weights: &mut Weights, path: &str, config: &Config) -> Result<Self> {
        let (heads, kv_heads, dims, hidden) =
            (config.num_attention_heads, config.kv_heads(), config.head_dim(), config.hidden_size);
        let kind = |heads| Kind { bias: config.qkv_bias(), heads };
        let mut linear = |name: &str, size, kind| weights.linear(&format!("{path}.{name}"), size, kind);
        let qkv = if config.is_joined() {
            Qkv::Joined(linear("qkv_proj", [(heads + 2 * kv_heads) * dims, hidden], kind(None))?)
        } else {
            Qkv::Apart([
                linear("q_proj", [heads * dims, hidden], kind(Some(heads)))?,
                linear("k_proj", [kv_heads * dims, hidden], kind(Some(kv_heads)))?,
                linear("v_proj", [kv_heads * dims, hidden], kind(None))?,
            ])
        };
        let o_proj = linear("o_proj", [hidden, heads * dims], Kind { bias: config.attention_bias, heads: None })?;
        let mut norm = |name: &str| Norm::load(weights, &format!("{path}.{name}"), dims, config);
        let norms = if config.qk_norm() { Some([norm("q_norm")?, norm("k_norm")?]) } else { None };
        let (scale, cap) = (f64::from(config.query_scale()), config.score_cap());
        Ok(Self { qkv, o_proj, norms, heads, kv_heads, dims, scale, cap })
    }

    /// `x`: `[tokens, hidden]`
    pub fn forward(&self, x: &Tensor, cache: &mut Cache, place: &Place) -> CandleResult<Tensor> {
        let count = x.dim(0)?;
        let [queries, keys, values] = self.qkv(x)?;
        let mut queries = queries.reshape((count, self.heads, self.dims))?;
        let mut keys = keys.reshape((count, self.kv_heads, self.dims))?;
        if let Some([q_norm, k_norm]) = &self.norms {
            (queries, keys) = (q_norm.forward(&queries)?, k_norm.forward(&keys)?);
        }
        let turn = |x: &Tensor| place.angles.turn(&x.transpose(0, 1)?.unsqueeze(0)?)?.squeeze(0);
        let values = values.reshape((count, self.kv_heads, self.dims))?.transpose(0, 1)?;
        let [keys, values] = place.seen(cache.append([&turn(&keys)?, &values])?)?;
        // Heads that share keys and values stand under each other: one product for all of them.
        let shared = self.heads / self.kv_heads;
        let queries = turn(&queries)?.reshape((self.kv_heads, shared * count, self.dims))?;
        let output = if count == 1 && queries.device().is_cpu() {
            Single { scale: self.scale as f32, cap: self.cap }.forward(&queries, [&keys, &values])?
        } else {
            self.attend(&queries, &keys, &values, place)?
        };
        let output = output.reshape((self.heads, count, self.dims))?.transpose(0, 1)?;
        self.o_proj.forward(&output.reshape((count, self.heads * self.dims))?)
    }

    /// Products of whole matrices: `queries` of `[kv heads, queries of each, dims]`.
    fn attend(&self, queries: &Tensor, keys: &Tensor, values: &Tensor, place: &Place) -> CandleResult<Tensor> {
        let mut scores = (queries.matmul(&keys.t()?)? * self.scale)?;
        if let Some(cap) = self.cap {
            scores = soft_cap(&scores, cap)?;
        }
        if let Some(mask) = &place.mask {
            let (count, all) = mask.dims2()?;
            let apart = scores.reshape((self.heads, count, all))?.broadcast_add(mask)?;
            scores = apart.reshape(scores.shape())?;
        }
        ops::softmax_last_dim(&scores)?.matmul(values)
    }

    fn qkv(&self, x: &Tensor) -> CandleResult<[Tensor; 3]> {
        match &self.qkv {
            Qkv::Apart([q_proj, k_proj, v_proj]) => Ok([q_proj.forward(x)?, k_proj.forward(x)?, v_proj.forward(x)?]),
            Qkv::Joined(all) => {
                let (all, wide, narrow) = (all.forward(x)?, self.heads * self.dims, self.kv_heads * self.dims);
                let part = |start, len| all.narrow(D::Minus1, start, len)?.contiguous();
                Ok([part(0, wide)?, part(wide, narrow)?, part(wide + narrow, narrow)?])
            }
        }
    }
}

/// Each of `count` tokens after `first` others sees those and itself, as far as its window reaches back.
fn mask(first: usize, count: usize, window: Option<usize>, device: &Device) -> CandleResult<Tensor> {
    let hidden = |row: usize, column: usize| {
        let is_seen = column <= row && window.is_none_or(|window| column + window > row);
        if is_seen { 0.0 } else { f32::NEG_INFINITY }
    };
    let numbers = (first..first + count).flat_map(|row| (0..first + count).map(move |column| hidden(row, column)));
    Tensor::from_iter(numbers, device)?.reshape((count, first + count))
}
