//! Llama 2 and 3, and Mistral, which differs in nothing. Names and formulas are those of mlx-lm's `models/llama.py`.

use mlx_rs::Array;
use mlx_rs::error::Result as MlxResult;
use serde::Deserialize;

use super::Model;
use super::decoder::{Around, Block as Layer, Decoder};
use crate::array::add;
use crate::cache::{Cache, LayerCache};
use crate::config::Config;
use crate::config::rope::{self, Rope as RopeSettings};
use crate::config::sizes::{Absent, Sizes};
use crate::config::windows;
use crate::error::Result;
use crate::layers::attention::{Heads, Scores, attend};
use crate::layers::linear::{Bias, Linear};
use crate::layers::matrix::Size;
use crate::layers::mlp::{Gate, GatedMlp};
use crate::layers::norm::RmsNorm;
use crate::layers::qkv::Qkv;
use crate::layers::rope::{Offset, Rope};
use crate::weights::Weights;

const ABSENT: Absent = Absent { head_dim: None, context: None };

/// What `config.json` says beside the sizes and the rope, with mlx-lm's defaults.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
}

struct Attention {
    qkv_proj: Qkv,
    o_proj: Linear,
    rope: Rope,
    heads: Heads,
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, sizes: &Sizes, bias: Bias, rope: &RopeSettings) -> Result<Self> {
        let (heads, kv_heads, hidden) = (sizes.heads(), sizes.kv_heads(), sizes.hidden_size);
        let o_size = Size { rows: hidden, columns: heads.width() };
        Ok(Self {
            qkv_proj: Qkv::load(weights, path, hidden, [heads, kv_heads], bias)?,
            o_proj: Linear::load(weights, &format!("{path}.o_proj"), o_size, bias)?,
            rope: Rope::new(rope, heads)?,
            heads,
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let [queries, keys, values] = self.qkv_proj.forward(x, &self.rope, offset)?;
        let output = attend(&queries, &keys, &values, cache, Scores::of(self.heads.dims))?;
        self.o_proj.forward(&self.heads.join(&output)?)
    }
}

struct Block {
    self_attn: Attention,
    mlp: GatedMlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
    window: Option<i32>,
}

impl Layer for Block {
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let x = add(x, &self.self_attn.forward(&self.input_layernorm.forward(x)?, cache, offset)?)?;
        add(&x, &self.mlp.forward(&self.post_attention_layernorm.forward(&x)?)?)
    }

    fn cache(&self) -> Cache {
        self.window.map_or_else(Cache::full, Cache::window)
    }
}

/// Takes all tensors of the model.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Model>> {
    let sizes = Sizes::read(config, ABSENT)?;
    let args: Args = config.args()?;
    let rope = RopeSettings::read(config, rope::THETA)?;
    let windows = windows::read(config, sizes.num_hidden_layers, |_| false)?;
    let (hidden, wide, eps) = (sizes.hidden_size, sizes.intermediate_size, sizes.rms_norm_eps);
    let block = |weights: &mut Weights, path: &str, layer: usize| {
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), hidden, eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn: Attention::load(
                weights,
                &format!("{path}.self_attn"),
                &sizes,
                args.attention_bias.into(),
                &rope,
            )?,
            mlp: GatedMlp::load(weights, &format!("{path}.mlp"), hidden, wide, args.mlp_bias.into(), Gate::Silu)?,
            window: windows[layer],
        })
    };
    let around = Around::plain(sizes.is_tied(true));
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load(weights, path, hidden, eps);
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}

#[cfg(test)]
#[path = "llama_tests.rs"]
mod tests;
