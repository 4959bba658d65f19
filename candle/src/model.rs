//! The one transformer: Llama and Mistral, Qwen 2 with its biases, Qwen 3 with its norms of queries and keys. Names and
//! formulas are those of mlx-lm's files in `models/`.

use std::rc::Rc;

use candle_core::{D, Device, Result as CandleResult, Tensor};
use candle_nn::ops;
use engine::TokenId;

use crate::cache::{Account, Cache};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::rope::{Angles, Rope};
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
}

struct Block {
    input_layernorm: Norm,
    self_attn: Attention,
    post_attention_layernorm: Norm,
    /// Gate, up and down.
    mlp: [Linear; 3],
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    /// Of queries and keys, where there are any.
    norms: Option<[Norm; 2]>,
    heads: usize,
    kv_heads: usize,
    dims: usize,
}

struct Norm {
    weight: Tensor,
    eps: f32,
}

/// What one step is about, the same in all layers.
struct Place {
    angles: Angles,
    /// `[tokens, all tokens]` with −∞ for what a token does not see; absent where the one token sees all.
    mask: Option<Tensor>,
}

impl Model {
    /// Takes all tensors of the model.
    pub fn load(config: Config, weights: &mut Weights, device: &Device) -> Result<Self> {
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
        let embed_tokens = weights.linear("model.embed_tokens", [vocabulary, hidden], Kind::default())?;
        let blocks = (0..config.num_hidden_layers).map(|layer| Block::load(weights, &config, layer));
        let blocks = blocks.collect::<Result<_>>()?;
        let norm = Norm::load(weights, "model.norm", hidden, &config)?;
        let tied = weights.is_tied().unwrap_or(config.is_tied());
        let lm_head =
            if tied { None } else { Some(weights.linear("lm_head", [vocabulary, hidden], Kind::default())?) };
        let rope = Rope::new(&config)?;
        Ok(Self { rope, embed_tokens, blocks, norm, lm_head, device: device.clone(), config })
    }

    /// One empty cache for each layer.
    pub fn caches(&self, account: &Rc<Account>) -> Vec<Cache> {
        self.blocks.iter().map(|_| Cache::new(account)).collect()
    }

    /// Adds `tokens` to the caches; answers the vectors after the last block, `[tokens, hidden]`.
    pub fn hidden(&self, tokens: &[TokenId], caches: &mut [Cache]) -> CandleResult<Tensor> {
        let (first, count) = (caches.first().map_or(0, Cache::len), tokens.len());
        let place = Place {
            angles: self.rope.angles(first, count, &self.device)?,
            mask: if count > 1 { Some(mask(first, count, &self.device)?) } else { None },
        };
        let mut x = self.embed_tokens.rows(&Tensor::new(tokens, &self.device)?)?;
        for (block, cache) in self.blocks.iter().zip(caches) {
            x = block.forward(&x, cache, &place)?;
        }
        Ok(x)
    }

    /// Logits after the last of `hidden`'s tokens.
    pub fn logits(&self, hidden: &Tensor) -> Result<Vec<f32>> {
        let last = hidden.narrow(0, hidden.dim(0)? - 1, 1)?.contiguous()?;
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        let logits: Vec<f32> = head.forward(&self.norm.forward(&last)?)?.flatten_all()?.to_vec1()?;
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::Broken("the model computed NaN: its weights are damaged; download it again".into()));
        }
        Ok(logits)
    }
}

impl Block {
    fn load(weights: &mut Weights, config: &Config, layer: usize) -> Result<Self> {
        let path = format!("model.layers.{layer}");
        let (hidden, wide, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        let kind = Kind { bias, heads: None };
        let mut mlp = |name: &str, size| weights.linear(&format!("{path}.mlp.{name}"), size, kind);
        let mlp =
            [mlp("gate_proj", [wide, hidden])?, mlp("up_proj", [wide, hidden])?, mlp("down_proj", [hidden, wide])?];
        let mut norm = |name: &str| Norm::load(weights, &format!("{path}.{name}"), hidden, config);
        let (input_layernorm, post_attention_layernorm) = (norm("input_layernorm")?, norm("post_attention_layernorm")?);
        let self_attn = Attention::load(weights, &format!("{path}.self_attn"), config)?;
        Ok(Self { input_layernorm, self_attn, post_attention_layernorm, mlp })
    }

    fn forward(&self, x: &Tensor, cache: &mut Cache, place: &Place) -> CandleResult<Tensor> {
        let x = (x + self.self_attn.forward(&self.input_layernorm.forward(x)?, cache, place)?)?;
        let normed = self.post_attention_layernorm.forward(&x)?;
        let [gate, up, down] = &self.mlp;
        let wide = (gate.forward(&normed)?.silu()? * up.forward(&normed)?)?;
        x + down.forward(&wide)?
    }
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, config: &Config) -> Result<Self> {
        let (heads, kv_heads, dims, hidden) =
            (config.num_attention_heads, config.kv_heads(), config.head_dim(), config.hidden_size);
        let kind = |heads| Kind { bias: config.qkv_bias(), heads };
        let mut linear = |name: &str, size, kind| weights.linear(&format!("{path}.{name}"), size, kind);
        let q_proj = linear("q_proj", [heads * dims, hidden], kind(Some(heads)))?;
        let k_proj = linear("k_proj", [kv_heads * dims, hidden], kind(Some(kv_heads)))?;
        let v_proj = linear("v_proj", [kv_heads * dims, hidden], kind(None))?;
        let o_proj = linear("o_proj", [hidden, heads * dims], Kind { bias: config.attention_bias, heads: None })?;
        let mut norm = |name: &str| Norm::load(weights, &format!("{path}.{name}"), dims, config);
        let norms = if config.qk_norm() { Some([norm("q_norm")?, norm("k_norm")?]) } else { None };
        Ok(Self { q_proj, k_proj, v_proj, o_proj, norms, heads, kv_heads, dims })
    }

    /// `x`: `[tokens, hidden]`
    fn forward(&self, x: &Tensor, cache: &mut Cache, place: &Place) -> CandleResult<Tensor> {
        let count = x.dim(0)?;
        let (mut queries, mut keys) = (self.q_proj.forward(x)?, self.k_proj.forward(x)?);
        queries = queries.reshape((count, self.heads, self.dims))?;
        keys = keys.reshape((count, self.kv_heads, self.dims))?;
        if let Some([q_norm, k_norm]) = &self.norms {
            (queries, keys) = (q_norm.forward(&queries)?, k_norm.forward(&keys)?);
        }
        let turn = |x: &Tensor| place.angles.turn(&x.transpose(0, 1)?.unsqueeze(0)?)?.squeeze(0);
        let values = self.v_proj.forward(x)?.reshape((count, self.kv_heads, self.dims))?.transpose(0, 1)?;
        let [keys, values] = cache.append([&turn(&keys)?, &values])?;
        // Heads that share keys and values stand under each other: one product for all of them.
        let shared = self.heads / self.kv_heads;
        let queries = turn(&queries)?.reshape((self.kv_heads, shared * count, self.dims))?;
        let mut scores = (queries.matmul(&keys.t()?)? * (self.dims as f64).powf(-0.5))?;
        if let Some(mask) = &place.mask {
            let all = keys.dim(1)?;
            let apart = scores.reshape((self.kv_heads * shared, count, all))?.broadcast_add(mask)?;
            scores = apart.reshape((self.kv_heads, shared * count, all))?;
        }
        let output = ops::softmax_last_dim(&scores)?.matmul(&values)?;
        let output = output.reshape((self.heads, count, self.dims))?.transpose(0, 1)?;
        self.o_proj.forward(&output.reshape((count, self.heads * self.dims))?)
    }
}

impl Norm {
    fn load(weights: &mut Weights, path: &str, len: usize, config: &Config) -> Result<Self> {
        Ok(Self { weight: weights.vector(&format!("{path}.weight"), len)?, eps: config.rms_norm_eps })
    }

    fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        debug_assert_eq!(x.dim(D::Minus1)?, self.weight.dim(0)?);
        ops::rms_norm(&x.contiguous()?, &self.weight, self.eps)
    }
}

/// Each of `count` tokens after `first` others sees those and itself.
fn mask(first: usize, count: usize, device: &Device) -> CandleResult<Tensor> {
    let hidden = |row: usize, column: usize| if column > first + row { f32::NEG_INFINITY } else { 0.0 };
    let numbers = (0..count).flat_map(|row| (0..first + count).map(move |column| hidden(row, column)));
    Tensor::from_iter(numbers, device)?.reshape((count, first + count))
}
