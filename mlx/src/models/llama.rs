//! Llama 2 and 3, and Mistral, which differs in nothing. Names and formulas are those of mlx-lm's `models/llama.py`.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, Dtype, ops};
use serde::Deserialize;

use super::{Facts, Model};
use crate::cache::KvCache;
use crate::config::{Config, rope};
use crate::error::{Error, Result};
use crate::layers::attention::{Heads, attend};
use crate::layers::embedding::Embedding;
use crate::layers::linear::{Bias, Linear, Size};
use crate::layers::norm::RmsNorm;
use crate::layers::rope::Rope;
use crate::weights::Weights;

/// Context where the config names none, and the longest that is believed.
const MAX_CONTEXT: i32 = 1 << 24;

/// `config.json`, with mlx-lm's defaults.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: i32,
    intermediate_size: i32,
    num_attention_heads: i32,
    rms_norm_eps: f32,
    vocab_size: i32,
    head_dim: Option<i32>,
    max_position_embeddings: Option<i32>,
    num_key_value_heads: Option<i32>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    layer_types: Option<Vec<String>>,
    #[serde(flatten)]
    rope: rope::Keys,
}

fn yes() -> bool {
    true
}

impl Args {
    fn kv_heads(&self) -> i32 {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_dim(&self) -> i32 {
        self.head_dim.unwrap_or_else(|| self.hidden_size / self.num_attention_heads.max(1))
    }

    fn context(&self) -> i32 {
        self.max_position_embeddings.unwrap_or(MAX_CONTEXT)
    }

    fn check(&self, config: &Config) -> Result<()> {
        config.check("hidden_size", self.hidden_size, 1 << 17)?;
        config.check("num_hidden_layers", self.num_hidden_layers, 1000)?;
        config.check("intermediate_size", self.intermediate_size, 1 << 20)?;
        config.check("num_attention_heads", self.num_attention_heads, 1024)?;
        config.check("num_key_value_heads", self.kv_heads(), self.num_attention_heads)?;
        config.check("head_dim", self.head_dim(), 1024)?;
        config.check("vocab_size", self.vocab_size, 1 << 22)?;
        config.check("max_position_embeddings", self.context(), MAX_CONTEXT)?;
        config.check_positive("rms_norm_eps", self.rms_norm_eps)?;
        if self.num_attention_heads % self.kv_heads() != 0 || self.head_dim() % 2 != 0 {
            return Err(config.broken("heads cannot be shared evenly, or have an odd number of dimensions"));
        }
        let full = |kind: &String| kind == "full_attention";
        match &self.layer_types {
            Some(kinds) if !kinds.iter().all(full) => {
                Err(Error::NotSupported("layers with a sliding window are not known".into()))
            }
            _ => Ok(()),
        }
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    rope: Rope,
    heads: Heads,
    kv_heads: Heads,
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, args: &Args, rope: &rope::Rope) -> Result<Self> {
        let dims = args.head_dim();
        let heads = Heads { count: args.num_attention_heads, dims };
        let kv_heads = Heads { count: args.kv_heads(), dims };
        let mut linear = |name: &str, rows: i32, columns: i32| {
            let bias = Bias::from(args.attention_bias);
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, bias)
        };
        Ok(Self {
            q_proj: linear("q_proj", heads.width(), args.hidden_size)?,
            k_proj: linear("k_proj", kv_heads.width(), args.hidden_size)?,
            v_proj: linear("v_proj", kv_heads.width(), args.hidden_size)?,
            o_proj: linear("o_proj", args.hidden_size, heads.width())?,
            rope: Rope::new(rope, dims),
            heads,
            kv_heads,
        })
    }

    /// `x`: `[1, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut KvCache) -> MlxResult<Array> {
        let offset = cache.len();
        let queries = self.rope.forward(&self.heads.split(&self.q_proj.forward(x)?)?, offset)?;
        let keys = self.rope.forward(&self.kv_heads.split(&self.k_proj.forward(x)?)?, offset)?;
        let values = self.kv_heads.split(&self.v_proj.forward(x)?)?;
        let output = attend(&queries, &keys, &values, cache)?;
        self.o_proj.forward(&self.heads.join(&output)?)
    }
}

struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Mlp {
    fn load(weights: &mut Weights, path: &str, args: &Args) -> Result<Self> {
        let (hidden, wide) = (args.hidden_size, args.intermediate_size);
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, Bias::from(args.mlp_bias))
        };
        Ok(Self {
            gate: linear("gate_proj", wide, hidden)?,
            up: linear("up_proj", wide, hidden)?,
            down: linear("down_proj", hidden, wide)?,
        })
    }

    fn forward(&self, x: &Array) -> MlxResult<Array> {
        let gate = self.gate.forward(x)?;
        let silu = ops::multiply(&gate, &ops::sigmoid(&gate)?)?;
        self.down.forward(&ops::multiply(&silu, &self.up.forward(x)?)?)
    }
}

struct Block {
    self_attn: Attention,
    mlp: Mlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
}

impl Block {
    fn load(weights: &mut Weights, path: &str, args: &Args, rope: &rope::Rope) -> Result<Self> {
        let mut norm =
            |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), args.hidden_size, args.rms_norm_eps);
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn: Attention::load(weights, &format!("{path}.self_attn"), args, rope)?,
            mlp: Mlp::load(weights, &format!("{path}.mlp"), args)?,
        })
    }

    fn forward(&self, x: &Array, cache: &mut KvCache) -> MlxResult<Array> {
        let x = ops::add(x, &self.self_attn.forward(&self.input_layernorm.forward(x)?, cache)?)?;
        ops::add(&x, &self.mlp.forward(&self.post_attention_layernorm.forward(&x)?)?)
    }
}

struct Llama {
    embed_tokens: Embedding,
    layers: Vec<Block>,
    norm: RmsNorm,
    /// Absent where the head is tied to the embedding.
    lm_head: Option<Linear>,
    vocab_size: u32,
    context: u32,
    dtype: Dtype,
}

/// Takes all tensors of the model.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Model>> {
    let args: Args = config.args()?;
    args.check(config)?;
    let rope = args.rope.check(config)?;
    weights.discard(|name| unneeded(name, &args));
    let size = Size { rows: args.vocab_size, columns: args.hidden_size };
    let embed_tokens = Embedding::load(weights, "model.embed_tokens", size)?;
    let block = |layer| Block::load(weights, &format!("model.layers.{layer}"), &args, &rope);
    let layers = (0..args.num_hidden_layers).map(block).collect::<Result<_>>()?;
    let norm = RmsNorm::load(weights, "model.norm", args.hidden_size, args.rms_norm_eps)?;
    let mut head = || Linear::load(weights, "lm_head", size, Bias::None);
    let lm_head = if args.tie_word_embeddings { None } else { Some(head()?) };
    let dtype = embed_tokens.forward(&crate::array::tokens(&[0]))?.dtype();
    let (vocab_size, context) = (args.vocab_size as u32, args.context() as u32);
    Ok(Box::new(Llama { embed_tokens, layers, norm, lm_head, vocab_size, context, dtype }))
}

/// Precomputed wavelengths of older exports, and a head that is tied.
fn unneeded(name: &str, args: &Args) -> bool {
    name.contains("self_attn.rotary_emb.inv_freq") || (args.tie_word_embeddings && name.starts_with("lm_head."))
}

impl Model for Llama {
    fn forward(&self, ids: &Array, caches: &mut [KvCache]) -> MlxResult<Array> {
        let mut x = self.embed_tokens.forward(ids)?;
        for (layer, cache) in self.layers.iter().zip(caches) {
            x = layer.forward(&x, cache)?;
        }
        let x = self.norm.forward(&x)?;
        match &self.lm_head {
            Some(head) => head.forward(&x),
            None => self.embed_tokens.as_linear(&x),
        }
    }

    fn facts(&self) -> Facts {
        let Self { vocab_size, context, dtype, .. } = *self;
        Facts { layers: self.layers.len(), vocab_size, context, dtype }
    }
}

#[cfg(test)]
#[path = "llama_tests.rs"]
mod tests;
