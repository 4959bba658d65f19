//! `SmolLM` 3: Llama with some layers that know no positions. Names and formulas are those of mlx-lm's `models/smollm3.py`.

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
    #[serde(default = "four")]
    no_rope_layer_interval: i32,
    /// 1 for the layers with a rope, 0 for those without.
    no_rope_layers: Option<Vec<u8>>,
}

fn four() -> i32 {
    4
}

impl Args {
    /// Which layers have a rope.
    fn ropes(&self, config: &Config, layers: i32) -> Result<Vec<bool>> {
        config.check("no_rope_layer_interval", self.no_rope_layer_interval, 1000)?;
        match &self.no_rope_layers {
            Some(ropes) if ropes.len() == layers as usize => Ok(ropes.iter().map(|rope| *rope != 0).collect()),
            Some(ropes) => {
                let named = ropes.len();
                Err(config.broken(&format!("no_rope_layers names {named} layers, but num_hidden_layers is {layers}")))
            }
            None => Ok((1..=layers).map(|layer| layer % self.no_rope_layer_interval != 0).collect()),
        }
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    /// Absent in layers that know no positions.
    rope: Option<Rope>,
    heads: Heads,
    kv_heads: Heads,
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, sizes: &Sizes, bias: Bias, rope: Option<&RopeSettings>) -> Result<Self> {
        let (heads, kv_heads, hidden) = (sizes.heads(), sizes.kv_heads(), sizes.hidden_size);
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, bias)
        };
        Ok(Self {
            q_proj: linear("q_proj", heads.width(), hidden)?,
            k_proj: linear("k_proj", kv_heads.width(), hidden)?,
            v_proj: linear("v_proj", kv_heads.width(), hidden)?,
            o_proj: linear("o_proj", hidden, heads.width())?,
            rope: rope.map(|rope| Rope::new(rope, heads)).transpose()?,
            heads,
            kv_heads,
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let mut queries = self.heads.split(&self.q_proj.forward(x)?)?;
        let mut keys = self.kv_heads.split(&self.k_proj.forward(x)?)?;
        if let Some(rope) = &self.rope {
            (queries, keys) = (rope.forward(&queries, offset)?, rope.forward(&keys, offset)?);
        }
        let values = self.kv_heads.split(&self.v_proj.forward(x)?)?;
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
    let ropes = args.ropes(config, sizes.num_hidden_layers)?;
    let windows = windows::read(config, sizes.num_hidden_layers, |_| false)?;
    let (hidden, wide, eps) = (sizes.hidden_size, sizes.intermediate_size, sizes.rms_norm_eps);
    let block = |weights: &mut Weights, path: &str, layer: usize| {
        let rope = ropes[layer].then_some(&rope);
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), hidden, eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn: Attention::load(
                weights,
                &format!("{path}.self_attn"),
                &sizes,
                args.attention_bias.into(),
                rope,
            )?,
            mlp: GatedMlp::load(weights, &format!("{path}.mlp"), hidden, wide, args.mlp_bias.into(), Gate::Silu)?,
            window: windows[layer],
        })
    };
    let around = Around::plain(sizes.is_tied(true));
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load(weights, path, hidden, eps);
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}
