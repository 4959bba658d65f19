//! Ministral 3: Llama with queries that grow with their position. Names and formulas are those of mlx-lm's
//! `models/ministral3.py`.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};
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
    rope_parameters: Temperature,
}

/// How much queries grow: by `1 + beta · ln(1 + ⌊position / first context⌋)`.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Temperature {
    llama_4_scaling_beta: f32,
    #[serde(rename = "original_max_position_embeddings")]
    first_context: i32,
}

impl Temperature {
    /// `queries`: `[rows, heads, tokens, dims]`, the first of each row at its position of `offset`.
    fn apply(self, queries: Array, offset: &Offset) -> MlxResult<Array> {
        let (rows, tokens) = (queries.shape()[0], queries.shape()[2]);
        if offset.rows().iter().all(|before| before + tokens <= self.first_context) {
            return Ok(queries);
        }
        let factor = |position: i32| {
            let contexts = (position / self.first_context) as f32;
            1.0 + self.llama_4_scaling_beta * contexts.ln_1p()
        };
        let positions = offset.rows().iter().flat_map(|before| *before..before + tokens);
        let factors: Vec<f32> = positions.map(factor).collect();
        let factors = Array::from_slice(&factors, &[rows, 1, tokens, 1]);
        ops::multiply(&queries, &factors.as_dtype(queries.dtype())?)
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    rope: Rope,
    temperature: Temperature,
    heads: Heads,
    kv_heads: Heads,
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, sizes: &Sizes, args: &Args, rope: &RopeSettings) -> Result<Self> {
        let (heads, kv_heads, hidden) = (sizes.heads(), sizes.kv_heads(), sizes.hidden_size);
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, Bias::None)
        };
        Ok(Self {
            q_proj: linear("q_proj", heads.width(), hidden)?,
            k_proj: linear("k_proj", kv_heads.width(), hidden)?,
            v_proj: linear("v_proj", kv_heads.width(), hidden)?,
            o_proj: linear("o_proj", hidden, heads.width())?,
            rope: Rope::new(rope, heads)?,
            temperature: args.rope_parameters,
            heads,
            kv_heads,
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let queries = self.rope.forward(&self.heads.split(&self.q_proj.forward(x)?)?, offset)?;
        let keys = self.rope.forward(&self.kv_heads.split(&self.k_proj.forward(x)?)?, offset)?;
        let queries = self.temperature.apply(queries, offset)?;
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
    config.check("original_max_position_embeddings", args.rope_parameters.first_context, 1 << 24)?;
    let rope = RopeSettings::read(config, rope::THETA)?;
    let windows = windows::read(config, sizes.num_hidden_layers, |_| false)?;
    let (hidden, wide, eps) = (sizes.hidden_size, sizes.intermediate_size, sizes.rms_norm_eps);
    let block = |weights: &mut Weights, path: &str, layer: usize| {
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), hidden, eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn: Attention::load(weights, &format!("{path}.self_attn"), &sizes, &args, &rope)?,
            mlp: GatedMlp::load(weights, &format!("{path}.mlp"), hidden, wide, Bias::None, Gate::Silu)?,
            window: windows[layer],
        })
    };
    let around = Around::plain(sizes.is_tied(true));
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load(weights, path, hidden, eps);
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}
