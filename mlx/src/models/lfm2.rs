//! LFM 2: short convolutions where others have attention, and attention in some layers. Names and formulas are those of
//! mlx-lm's `models/lfm2.py`.

use mlx_rs::error::{Exception, Result as MlxResult};
use mlx_rs::{Array, ops};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Model;
use super::decoder::{Around, Block as Layer, Decoder};
use crate::array::add;
use crate::cache::{Cache, LayerCache, LayerRows};
use crate::config::Config;
use crate::config::rope::Rope as RopeSettings;
use crate::config::sizes::{Absent, Sizes};
use crate::error::Result;
use crate::layers::attention::{Heads, Scores, attend};
use crate::layers::linear::{Bias, Linear};
use crate::layers::matrix::Size;
use crate::layers::mlp::swiglu;
use crate::layers::norm::RmsNorm;
use crate::layers::rope::{Offset, Rope};
use crate::weights::Weights;

const ABSENT: Absent = Absent { head_dim: None, context: None };

/// Base of the wavelengths where the config names none.
const THETA: f32 = 1e6;

/// The longest convolution that is believed.
const MAX_TOKENS: i32 = 1 << 10;

/// What `config.json` says beside the sizes and the rope.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    conv_bias: bool,
    /// Tokens that a convolution sees.
    #[serde(rename = "conv_L_cache")]
    conv_tokens: i32,
    block_multiple_of: i32,
    block_ffn_dim_multiplier: Option<f64>,
    block_auto_adjust_ff_dim: bool,
    full_attn_idxs: Option<Vec<usize>>,
    layer_types: Option<Vec<String>>,
}

impl Args {
    fn read(config: &Config, layers: i32) -> Result<Self> {
        let args: Self = config.args()?;
        config.check("conv_L_cache", args.conv_tokens, MAX_TOKENS)?;
        config.check("block_multiple_of", args.block_multiple_of, 1 << 20)?;
        if args.full_attn_idxs.is_none() && args.layer_types.is_none() {
            return Err(config.broken("neither full_attn_idxs nor layer_types says which layers attend"));
        }
        let beyond = |layer: &&usize| **layer >= layers as usize;
        match args.full_attn_idxs.iter().flatten().find(beyond) {
            Some(layer) => Err(config.broken(&format!("full_attn_idxs names layer {layer} of {layers}"))),
            None => Ok(args),
        }
    }

    /// Whether a layer attends, instead of a convolution.
    fn attends(&self, layer: usize) -> bool {
        let typed = |types: &Vec<String>| types.get(layer).is_some_and(|kind| kind == "full_attention");
        match &self.full_attn_idxs {
            Some(attending) => attending.contains(&layer),
            None => self.layer_types.as_ref().is_some_and(typed),
        }
    }

    /// Numbers between the two halves of an MLP: two thirds of those in the config, in whole multiples.
    fn wide(&self, config: &Config, given: i32) -> Result<i32> {
        if !self.block_auto_adjust_ff_dim {
            return Ok(given);
        }
        let wide = (f64::from(2 * given / 3) * self.block_ffn_dim_multiplier.unwrap_or(1.0)) as i32;
        config.check("block_ff_dim after its adjustment", wide, 1 << 20)?;
        Ok((wide + self.block_multiple_of - 1) / self.block_multiple_of * self.block_multiple_of)
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    q_layernorm: RmsNorm,
    k_layernorm: RmsNorm,
    rope: Rope,
    heads: Heads,
    kv_heads: Heads,
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, sizes: &Sizes, rope: &RopeSettings) -> Result<Self> {
        let (heads, kv_heads, hidden) = (sizes.heads(), sizes.kv_heads(), sizes.hidden_size);
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, Bias::None)
        };
        Ok(Self {
            q_proj: linear("q_proj", heads.width(), hidden)?,
            k_proj: linear("k_proj", kv_heads.width(), hidden)?,
            v_proj: linear("v_proj", kv_heads.width(), hidden)?,
            out_proj: linear("out_proj", hidden, heads.width())?,
            q_layernorm: RmsNorm::load(weights, &format!("{path}.q_layernorm"), heads.dims, sizes.rms_norm_eps)?,
            k_layernorm: RmsNorm::load(weights, &format!("{path}.k_layernorm"), heads.dims, sizes.rms_norm_eps)?,
            rope: Rope::new(rope, heads)?,
            heads,
            kv_heads,
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let queries = self.q_layernorm.forward(&self.heads.split(&self.q_proj.forward(x)?)?)?;
        let keys = self.k_layernorm.forward(&self.kv_heads.split(&self.k_proj.forward(x)?)?)?;
        let (queries, keys) = (self.rope.forward(&queries, offset)?, self.rope.forward(&keys, offset)?);
        let values = self.kv_heads.split(&self.v_proj.forward(x)?)?;
        let output = attend(&queries, &keys, &values, cache, Scores::of(self.heads.dims))?;
        self.out_proj.forward(&self.heads.join(&output)?)
    }
}

/// A convolution over a few tokens, each channel for itself, between two gates.
struct ShortConv {
    in_proj: Linear,
    out_proj: Linear,
    /// `[hidden, tokens, 1]`
    conv: Array,
    /// `[hidden]`
    bias: Option<Array>,
    tokens: i32,
}

impl ShortConv {
    fn load(weights: &mut Weights, path: &str, hidden: i32, args: &Args) -> Result<Self> {
        let (tokens, conv) = (args.conv_tokens, format!("{path}.conv"));
        // Other frameworks have the tokens last.
        let name = format!("{conv}.weight");
        if let Some(weight) = weights.remove(&name) {
            let turned = weight.shape() == [hidden, 1, tokens] && tokens > 1;
            let weight = if turned { weight.transpose_axes(&[0, 2, 1])?.contiguous()? } else { weight };
            weights.insert(name, weight)?;
        }
        let weight = weights.take(&conv, "weight", &[hidden, tokens, 1])?;
        let bias = if args.conv_bias { Some(weights.take(&conv, "bias", &[hidden])?) } else { None };
        let mut linear = |name: &str, rows: i32| {
            let size = Size { rows, columns: hidden };
            Linear::load(weights, &format!("{path}.{name}"), size, args.conv_bias.into())
        };
        let (in_proj, out_proj) = (linear("in_proj", 3 * hidden)?, linear("out_proj", hidden)?);
        Ok(Self { in_proj, out_proj, conv: weight, bias, tokens })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>) -> MlxResult<Array> {
        let parts = self.in_proj.forward(x)?.split_equal(3, -1)?;
        let [before, after, x] = parts.as_slice() else { return Err(Exception::custom("three parts were asked for")) };
        let seen = seen(&ops::multiply(before, x)?, cache)?;
        let mut y = ops::conv1d(&seen, &self.conv, None, None, None, self.conv.shape()[0])?;
        if let Some(bias) = &self.bias {
            y = ops::add(&y, bias)?;
        }
        self.out_proj.forward(&ops::multiply(after, &y)?)
    }
}

/// What a convolution sees, `[rows, before + tokens, channels]`: `new` behind what each row's cache holds.
fn seen(new: &Array, cache: &mut LayerCache<'_>) -> MlxResult<Array> {
    let of_one = |new: &Array, cache: &mut Cache| match cache {
        Cache::Conv(cache) => cache.update(new),
        _ => Err(Exception::custom("a convolution needs a cache of its own")),
    };
    match cache {
        LayerCache::One(cache, _) => of_one(new, cache),
        LayerCache::Rows(LayerRows { caches, .. }) => {
            let each = new.split_equal(caches.len() as i32, 0)?;
            let seen = each.iter().zip(caches).map(|(new, cache)| of_one(new, cache));
            ops::concatenate(&seen.collect::<MlxResult<Vec<_>>>()?, 0)
        }
    }
}

enum Operator {
    Attention(Box<Attention>),
    Conv(Box<ShortConv>),
}

struct Mlp {
    w1: Linear,
    w2: Linear,
    w3: Linear,
}

impl Mlp {
    fn load(weights: &mut Weights, path: &str, hidden: i32, wide: i32) -> Result<Self> {
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, Bias::None)
        };
        Ok(Self { w1: linear("w1", wide, hidden)?, w2: linear("w2", hidden, wide)?, w3: linear("w3", wide, hidden)? })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array) -> MlxResult<Array> {
        self.w2.forward(&swiglu(&self.w1.forward(x)?, &self.w3.forward(x)?)?)
    }
}

struct Block {
    operator: Operator,
    feed_forward: Mlp,
    operator_norm: RmsNorm,
    ffn_norm: RmsNorm,
}

impl Layer for Block {
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let normed = self.operator_norm.forward(x)?;
        let y = match &self.operator {
            Operator::Attention(attention) => attention.forward(&normed, cache, offset)?,
            Operator::Conv(conv) => conv.forward(&normed, cache)?,
        };
        let x = add(x, &y)?;
        add(&x, &self.feed_forward.forward(&self.ffn_norm.forward(&x)?)?)
    }

    fn cache(&self) -> Cache {
        match &self.operator {
            Operator::Attention(_) => Cache::full(),
            Operator::Conv(conv) => Cache::conv(conv.tokens),
        }
    }
}

/// The config with the usual names for what has others here.
fn usual(config: &Config) -> Config {
    let named = [("rms_norm_eps", "norm_eps"), ("intermediate_size", "block_ff_dim")];
    let named = named.iter().filter_map(|(usual, own)| Some(((*usual).to_owned(), config.get(own)?.clone())));
    config.and(named.collect::<Map<String, Value>>())
}

/// Takes all tensors of the model.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Model>> {
    let sizes = Sizes::read(&usual(config), ABSENT)?;
    let args = Args::read(config, sizes.num_hidden_layers)?;
    let rope = RopeSettings::read(config, THETA)?;
    let (hidden, wide, eps) = (sizes.hidden_size, args.wide(config, sizes.intermediate_size)?, sizes.rms_norm_eps);
    let block = |weights: &mut Weights, path: &str, layer: usize| {
        let operator = if args.attends(layer) {
            let attention = Attention::load(weights, &format!("{path}.self_attn"), &sizes, &rope)?;
            Operator::Attention(Box::new(attention))
        } else {
            Operator::Conv(Box::new(ShortConv::load(weights, &format!("{path}.conv"), hidden, &args)?))
        };
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), hidden, eps);
        let (operator_norm, ffn_norm) = (norm("operator_norm")?, norm("ffn_norm")?);
        let feed_forward = Mlp::load(weights, &format!("{path}.feed_forward"), hidden, wide)?;
        Ok(Block { operator, feed_forward, operator_norm, ffn_norm })
    };
    let norm = |weights: &mut Weights, _: &str| RmsNorm::load(weights, "model.embedding_norm", hidden, eps);
    Ok(Box::new(Decoder::load(weights, &sizes, Around::plain(true), norm, block)?))
}
