//! Phi 3, 3.5 and 4 mini: one matrix for queries, keys and values, one for both halves of the MLP. Names and formulas are
//! those of mlx-lm's `models/phi3.py`.

use mlx_rs::Array;
use mlx_rs::error::Result as MlxResult;
use serde::Deserialize;

use super::Model;
use super::decoder::{Around, Block as Layer, Decoder};
use crate::array::{add, columns};
use crate::cache::{Cache, LayerCache};
use crate::config::Config;
use crate::config::rope::{self, Rope as RopeSettings};
use crate::config::sizes::{Absent, Sizes};
use crate::error::Result;
use crate::layers::attention::{Heads, Scores, attend};
use crate::layers::linear::{Bias, Linear};
use crate::layers::matrix::Size;
use crate::layers::mlp::swiglu;
use crate::layers::norm::RmsNorm;
use crate::layers::qkv::Qkv;
use crate::layers::rope::{Offset, Rope};
use crate::weights::Weights;

const ABSENT: Absent = Absent { head_dim: None, context: Some(131_072) };

/// What `config.json` says beside the sizes and the rope, with mlx-lm's defaults.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    #[serde(default = "all")]
    partial_rotary_factor: f32,
}

fn all() -> f32 {
    1.0
}

impl Args {
    /// Numbers of each head that the rope turns.
    fn turned(&self, config: &Config, dims: i32) -> Result<i32> {
        let turned = (dims as f32 * self.partial_rotary_factor) as i32;
        if (2..=dims).contains(&turned) && turned % 2 == 0 {
            return Ok(turned);
        }
        let factor = self.partial_rotary_factor;
        Err(config.broken(&format!("partial_rotary_factor {factor} of heads of {dims} numbers leaves no even part")))
    }
}

struct Attention {
    qkv_proj: Qkv,
    o_proj: Linear,
    rope: Rope,
    heads: Heads,
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, sizes: &Sizes, rope: &RopeSettings, turned: i32) -> Result<Self> {
        let (heads, kv_heads, hidden) = (sizes.heads(), sizes.kv_heads(), sizes.hidden_size);
        let o_size = Size { rows: hidden, columns: heads.width() };
        Ok(Self {
            qkv_proj: Qkv::joined(weights, &format!("{path}.qkv_proj"), hidden, [heads, kv_heads])?,
            o_proj: Linear::load(weights, &format!("{path}.o_proj"), o_size, Bias::None)?,
            rope: Rope::partial(rope, heads, turned)?,
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

struct Mlp {
    gate_up: Linear,
    down: Linear,
    wide: i32,
}

impl Mlp {
    fn load(weights: &mut Weights, path: &str, hidden: i32, wide: i32) -> Result<Self> {
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, Bias::None)
        };
        Ok(Self { gate_up: linear("gate_up_proj", 2 * wide, hidden)?, down: linear("down_proj", hidden, wide)?, wide })
    }

    fn forward(&self, x: &Array) -> MlxResult<Array> {
        let gate_up = self.gate_up.forward(x)?;
        let (gate, up) = (columns(&gate_up, 0, self.wide)?, columns(&gate_up, self.wide, self.wide)?);
        self.down.forward(&swiglu(&gate, &up)?)
    }
}

struct Block {
    self_attn: Attention,
    mlp: Mlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
}

impl Layer for Block {
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let x = add(x, &self.self_attn.forward(&self.input_layernorm.forward(x)?, cache, offset)?)?;
        add(&x, &self.mlp.forward(&self.post_attention_layernorm.forward(&x)?)?)
    }

    fn cache(&self) -> Cache {
        Cache::full()
    }
}

/// Takes all tensors of the model.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Model>> {
    let sizes = Sizes::read(config, ABSENT)?;
    let args: Args = config.args()?;
    let rope = RopeSettings::read(config, rope::THETA)?;
    let turned = args.turned(config, sizes.head_dim())?;
    let (hidden, wide, eps) = (sizes.hidden_size, sizes.intermediate_size, sizes.rms_norm_eps);
    let block = |weights: &mut Weights, path: &str, _| {
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), hidden, eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn: Attention::load(weights, &format!("{path}.self_attn"), &sizes, &rope, turned)?,
            mlp: Mlp::load(weights, &format!("{path}.mlp"), hidden, wide)?,
        })
    };
    let around = Around::plain(sizes.is_tied(false));
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load(weights, path, hidden, eps);
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}
