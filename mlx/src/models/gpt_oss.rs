//! gpt-oss. Names and formulas are those of mlx-lm's `models/gpt_oss.py`.

mod published;

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};
use serde::Deserialize;
use serde_json::json;

use super::Model;
use super::decoder::{Around, Block as Layer, Decoder};
use crate::array::add;
use crate::cache::{Cache, LayerCache};
use crate::config::Config;
use crate::config::rope::Rope as RopeSettings;
use crate::config::sizes::{Absent, Sizes};
use crate::config::windows;
use crate::error::Result;
use crate::layers::attention::{Heads, Scores, attend};
use crate::layers::experts::{Choice, Experts, SwitchGlu};
use crate::layers::linear::{Bias, Linear};
use crate::layers::matrix::Size;
use crate::layers::norm::RmsNorm;
use crate::layers::rope::{Offset, Rope};
use crate::weights::Weights;

const ABSENT: Absent = Absent { head_dim: Some(64), context: None };

/// Base of the wavelengths where the config names none.
const THETA: f32 = 150_000.0;

/// Tokens of a window where the config names none.
const WINDOW: i32 = 128;

/// How steep an expert's gate is.
const ALPHA: f32 = 1.702;

/// Where the numbers of an expert's gate are cut off, and of what the gate is for.
const LIMIT: f32 = 7.0;

/// What `config.json` says beside the sizes and the rope, with mlx-lm's defaults.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    #[serde(default = "Args::local_experts")]
    num_local_experts: i32,
    #[serde(default = "Args::experts_per_tok")]
    num_experts_per_tok: i32,
    #[serde(default = "Args::limit")]
    swiglu_limit: f32,
}

impl Args {
    fn local_experts() -> i32 {
        128
    }

    fn experts_per_tok() -> i32 {
        4
    }

    fn limit() -> f32 {
        LIMIT
    }

    /// mlx-lm cuts off at the same numbers whatever the config says.
    fn check(&self, config: &Config) -> Result<()> {
        if (self.swiglu_limit - LIMIT).abs() > 0.0 {
            return Err(config.broken(&format!("swiglu_limit is {}, but only {LIMIT} is known", self.swiglu_limit)));
        }
        Ok(())
    }

    fn experts(&self, config: &Config, sizes: &Sizes) -> Result<Experts> {
        let (count, chosen) = (self.num_local_experts, self.num_experts_per_tok);
        let experts = Experts { count, chosen, hidden: sizes.hidden_size, wide: sizes.intermediate_size };
        experts.check(config, "num_local_experts", "num_experts_per_tok", "intermediate_size")
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    /// `[heads]`
    sinks: Array,
    rope: Rope,
    heads: Heads,
    kv_heads: Heads,
}

impl Attention {
    fn load(weights: &mut Weights, path: &str, sizes: &Sizes, rope: &RopeSettings) -> Result<Self> {
        let (heads, kv_heads, hidden) = (sizes.heads(), sizes.kv_heads(), sizes.hidden_size);
        let sinks = weights.take(path, "sinks", &[heads.count])?;
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, Bias::Added)
        };
        Ok(Self {
            q_proj: linear("q_proj", heads.width(), hidden)?,
            k_proj: linear("k_proj", kv_heads.width(), hidden)?,
            v_proj: linear("v_proj", kv_heads.width(), hidden)?,
            o_proj: linear("o_proj", hidden, heads.width())?,
            sinks,
            rope: Rope::new(rope, heads)?,
            heads,
            kv_heads,
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let queries = self.rope.forward(&self.heads.split(&self.q_proj.forward(x)?)?, offset)?;
        let keys = self.rope.forward(&self.kv_heads.split(&self.k_proj.forward(x)?)?, offset)?;
        let values = self.kv_heads.split(&self.v_proj.forward(x)?)?;
        let scores = Scores { sinks: Some(&self.sinks), ..Scores::of(self.heads.dims) };
        let output = attend(&queries, &keys, &values, cache, scores)?;
        self.o_proj.forward(&self.heads.join(&output)?)
    }
}

struct SparseMlp {
    router: Linear,
    switch_mlp: SwitchGlu,
    experts: Experts,
}

impl SparseMlp {
    fn load(weights: &mut Weights, path: &str, experts: Experts) -> Result<Self> {
        let size = Size { rows: experts.count, columns: experts.hidden };
        let router = format!("{path}.router");
        weights.keep_fine(&router);
        let router = Linear::load(weights, &router, size, Bias::Added)?;
        let path = format!("{path}.experts");
        published::rename(weights, &path)?;
        let switch_mlp = SwitchGlu::load(weights, &path, experts, Bias::Added, clipped_swiglu)?;
        Ok(Self { router, switch_mlp, experts })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array) -> MlxResult<Array> {
        let mut choice = Choice::best(&self.router.forward(x)?, self.experts)?;
        choice.scores = ops::softmax_axis(&choice.scores, -1, true)?;
        self.switch_mlp.forward(x, &choice)
    }
}

/// `(up + 1) · gate · sigmoid(α · gate)`, after both are cut off: mlx-lm's `activations.swiglu_oai`.
fn clipped_swiglu(gate: &Array, up: &Array) -> MlxResult<Array> {
    let number = |value| crate::array::scalar(value, gate);
    let (limit, low) = (number(LIMIT)?, number(-LIMIT)?);
    let gate = ops::minimum(gate, &limit)?;
    let up = ops::maximum(ops::minimum(up, &limit)?, &low)?;
    let open = ops::multiply(&gate, ops::sigmoid(ops::multiply(&gate, number(ALPHA)?)?)?)?;
    ops::multiply(ops::add(&up, number(1.0)?)?, open)
}

struct Block {
    self_attn: Attention,
    mlp: SparseMlp,
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
    let config = &config.or(json!({ "sliding_window": WINDOW }));
    let sizes = Sizes::read(config, ABSENT)?;
    let args: Args = config.args()?;
    args.check(config)?;
    let (experts, rope) = (args.experts(config, &sizes)?, RopeSettings::read(config, THETA)?);
    // Every other layer has a window, unless the config says which.
    let windows = windows::read(config, sizes.num_hidden_layers, |layer| layer.is_multiple_of(2))?;
    let block = |weights: &mut Weights, path: &str, layer: usize| {
        let mut norm =
            |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), sizes.hidden_size, sizes.rms_norm_eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn: Attention::load(weights, &format!("{path}.self_attn"), &sizes, &rope)?,
            mlp: SparseMlp::load(weights, &format!("{path}.mlp"), experts)?,
            window: windows[layer],
        })
    };
    let around = Around::plain(false);
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load(weights, path, sizes.hidden_size, sizes.rms_norm_eps);
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}
