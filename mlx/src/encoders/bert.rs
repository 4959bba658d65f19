//! BERT as sentence models use it (<https://arxiv.org/abs/1810.04805>): learnt positions, norms after each part, and
//! every token sees every other. The pooler is not used: sentence models pool the last vectors themselves.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::fast::{ScaledDotProductAttentionMask as Mask, scaled_dot_product_attention};
use mlx_rs::{Array, Dtype, fast, ops};
use serde::Deserialize;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::layers::attention::{Heads, Scores};
use crate::layers::embedding::Embedding;
use crate::layers::linear::{Bias, Linear};
use crate::layers::matrix::Size;
use crate::models::Facts;
use crate::network::Encoder;
use crate::weights::Weights;

/// `config.json`, with the defaults of `transformers`.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: i32,
    intermediate_size: i32,
    num_attention_heads: i32,
    vocab_size: i32,
    max_position_embeddings: i32,
    #[serde(default = "two")]
    type_vocab_size: i32,
    #[serde(default = "tiny")]
    layer_norm_eps: f32,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
}

fn two() -> i32 {
    2
}

fn tiny() -> f32 {
    1e-12
}

impl Args {
    fn check(&self, config: &Config) -> Result<()> {
        config.check("hidden_size", self.hidden_size, 1 << 17)?;
        config.check("num_hidden_layers", self.num_hidden_layers, 1000)?;
        config.check("intermediate_size", self.intermediate_size, 1 << 20)?;
        config.check("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        config.check("vocab_size", self.vocab_size, 1 << 22)?;
        config.check("max_position_embeddings", self.max_position_embeddings, 1 << 24)?;
        config.check("type_vocab_size", self.type_vocab_size, 1 << 16)?;
        config.check_positive("layer_norm_eps", self.layer_norm_eps)?;
        if self.hidden_size % self.num_attention_heads != 0 {
            return Err(config.broken("hidden_size cannot be shared evenly among num_attention_heads"));
        }
        let known = |key: &str, value: &Option<String>, only: &str| match value.as_deref() {
            Some(other) if other != only => {
                Err(Error::NotSupported(format!("{key} {other:?} is not known, only {only:?}")))
            }
            _ => Ok(()),
        };
        known("hidden_act", &self.hidden_act, "gelu")?;
        known("position_embedding_type", &self.position_embedding_type, "absolute")
    }

    fn heads(&self) -> Heads {
        Heads { count: self.num_attention_heads, dims: self.hidden_size / self.num_attention_heads }
    }
}

/// `(x − mean) / √(variance + eps) · weight + bias`
struct LayerNorm {
    weight: Array,
    bias: Array,
    eps: f32,
}

impl LayerNorm {
    fn load(weights: &mut Weights, path: &str, args: &Args) -> Result<Self> {
        let mut part = |name: &'static str| weights.take(path, name, &[args.hidden_size]);
        Ok(Self { weight: part("weight")?, bias: part("bias")?, eps: args.layer_norm_eps })
    }

    fn forward(&self, x: &Array) -> MlxResult<Array> {
        fast::layer_norm(x, Some(&self.weight), Some(&self.bias), self.eps)
    }
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: Heads,
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, args: &Args) -> Result<Self> {
        let size = Size { rows: args.hidden_size, columns: args.hidden_size };
        let mut linear = |name: &str| Linear::load(weights, &format!("{path}.{name}"), size, Bias::Added);
        Ok(Self {
            query: linear("self.query")?,
            key: linear("self.key")?,
            value: linear("self.value")?,
            output: linear("output.dense")?,
            heads: args.heads(),
        })
    }

    /// `x`: `[1, tokens, hidden]`
    fn forward(&self, x: &Array) -> MlxResult<Array> {
        let heads = |linear: &Linear| self.heads.split(&linear.forward(x)?);
        let (queries, keys, values) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let scale = Scores::of(self.heads.dims).scale;
        let seen = scaled_dot_product_attention(&queries, &keys, &values, scale, None::<Mask<'_>>, None)?;
        self.output.forward(&self.heads.join(&seen)?)
    }
}

struct Block {
    attention: Attention,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

impl Block {
    fn load(weights: &mut Weights, path: &str, args: &Args) -> Result<Self> {
        let (hidden, wide) = (args.hidden_size, args.intermediate_size);
        let up = Size { rows: wide, columns: hidden };
        let down = Size { rows: hidden, columns: wide };
        Ok(Self {
            attention: Attention::load(weights, &format!("{path}.attention"), args)?,
            attention_norm: LayerNorm::load(weights, &format!("{path}.attention.output.LayerNorm"), args)?,
            intermediate: Linear::load(weights, &format!("{path}.intermediate.dense"), up, Bias::Added)?,
            output: Linear::load(weights, &format!("{path}.output.dense"), down, Bias::Added)?,
            output_norm: LayerNorm::load(weights, &format!("{path}.output.LayerNorm"), args)?,
        })
    }

    fn forward(&self, x: &Array) -> MlxResult<Array> {
        let x = self.attention_norm.forward(&ops::add(x, &self.attention.forward(x)?)?)?;
        let wide = gelu(&self.intermediate.forward(&x)?)?;
        self.output_norm.forward(&ops::add(&x, &self.output.forward(&wide)?)?)
    }
}

/// `x · (1 + erf(x / √2)) / 2`
fn gelu(x: &Array) -> MlxResult<Array> {
    let like = |value: f32| crate::array::scalar(value, x);
    let erf = ops::erf(&ops::multiply(x, &like(std::f32::consts::FRAC_1_SQRT_2)?)?)?;
    ops::multiply(ops::multiply(x, &ops::add(&erf, &like(1.0)?)?)?, &like(0.5)?)
}

struct Bert {
    words: Embedding,
    /// `[positions, hidden]`, the vector of the first token type already added.
    positions: Array,
    norm: LayerNorm,
    layers: Vec<Block>,
    facts: Facts,
}

/// Takes all tensors of the model.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Encoder>> {
    let args: Args = config.args()?;
    args.check(config)?;
    // Exports of whole language models name the encoder.
    let root = if weights.has("bert.embeddings.word_embeddings", "weight") { "bert." } else { "" };
    weights.discard(|name| {
        let inside = name.strip_prefix(root).filter(|_| !name.starts_with("cls."));
        inside.is_none_or(|name| name.starts_with("pooler.") || name == "embeddings.position_ids")
    });
    let path = |name: &str| format!("{root}embeddings.{name}");
    let vocabulary = Size { rows: args.vocab_size, columns: args.hidden_size };
    let words = Embedding::load(weights, &path("word_embeddings"), vocabulary)?;
    let positions = positions(weights, &path("position_embeddings"), &path("token_type_embeddings"), &args)?;
    let norm = LayerNorm::load(weights, &path("LayerNorm"), &args)?;
    let block = |layer: i32| Block::load(weights, &format!("{root}encoder.layer.{layer}"), &args);
    let layers = (0..args.num_hidden_layers).map(block).collect::<Result<_>>()?;
    let (vocab_size, context) = (args.vocab_size as u32, args.max_position_embeddings as u32);
    let dtype: Dtype = positions.dtype();
    Ok(Box::new(Bert { words, positions, norm, layers, facts: Facts { vocab_size, context, dtype } }))
}

/// All tokens of one text are of the first type.
fn positions(weights: &mut Weights, positions: &str, types: &str, args: &Args) -> Result<Array> {
    let positions = weights.take(positions, "weight", &[args.max_position_embeddings, args.hidden_size])?;
    let types = weights.take(types, "weight", &[args.type_vocab_size, args.hidden_size])?;
    let first = ops::indexing::take_axis(&types, Array::from_int(0), 0)?;
    let sum = ops::add(&positions, &first)?;
    sum.eval()?;
    Ok(sum)
}

impl Encoder for Bert {
    fn hidden(&self, ids: &Array) -> MlxResult<Array> {
        let places = Array::from_iter(0..ids.shape()[1], &[ids.shape()[1]]);
        let positions = ops::indexing::take_axis(&self.positions, &places, 0)?;
        let mut x = self.norm.forward(&ops::add(&self.words.forward(ids)?, &positions)?)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        Ok(x)
    }

    fn facts(&self) -> Facts {
        self.facts
    }
}
