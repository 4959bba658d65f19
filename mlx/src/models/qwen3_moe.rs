//! Qwen 3 with experts. Names and formulas are those of mlx-lm's `models/qwen3_moe.py`.

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
use crate::error::Result;
use crate::layers::attention::{Heads, Scores, attend};
use crate::layers::experts::{Choice, Experts, SwitchGlu, stack};
use crate::layers::linear::{Bias, Linear};
use crate::layers::matrix::Size;
use crate::layers::mlp::{Gate, GatedMlp, swiglu};
use crate::layers::norm::RmsNorm;
use crate::layers::rope::{Offset, Rope};
use crate::weights::Weights;

const ABSENT: Absent = Absent { head_dim: None, context: None };

/// What `config.json` says beside the sizes and the rope.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    num_experts: i32,
    num_experts_per_tok: i32,
    moe_intermediate_size: i32,
    /// Whether the scores of the chosen experts are made to add up to 1.
    #[serde(default)]
    norm_topk_prob: bool,
    /// Each layer whose number, counted from 1, is a multiple of it has experts.
    #[serde(default = "every")]
    decoder_sparse_step: i32,
    /// Layers without experts all the same, counted from 0.
    #[serde(default)]
    mlp_only_layers: Vec<usize>,
}

fn every() -> i32 {
    1
}

impl Args {
    /// The experts of a layer; `None` for one with a plain MLP.
    fn experts(&self, config: &Config, hidden: i32, layer: usize) -> Result<Option<Experts>> {
        config.check("decoder_sparse_step", self.decoder_sparse_step, 1 << 20)?;
        let sparse = (layer + 1).is_multiple_of(self.decoder_sparse_step as usize);
        if self.num_experts == 0 || !sparse || self.mlp_only_layers.contains(&layer) {
            return Ok(None);
        }
        let (count, chosen, wide) = (self.num_experts, self.num_experts_per_tok, self.moe_intermediate_size);
        let experts = Experts { count, chosen, hidden, wide };
        experts.check(config, "num_experts", "num_experts_per_tok", "moe_intermediate_size").map(Some)
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
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
            o_proj: linear("o_proj", hidden, heads.width())?,
            q_norm: RmsNorm::load(weights, &format!("{path}.q_norm"), heads.dims, sizes.rms_norm_eps)?,
            k_norm: RmsNorm::load(weights, &format!("{path}.k_norm"), heads.dims, sizes.rms_norm_eps)?,
            rope: Rope::new(rope, heads)?,
            heads,
            kv_heads,
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let queries = self.q_norm.forward(&self.heads.split(&self.q_proj.forward(x)?)?)?;
        let keys = self.k_norm.forward(&self.kv_heads.split(&self.k_proj.forward(x)?)?)?;
        let (queries, keys) = (self.rope.forward(&queries, offset)?, self.rope.forward(&keys, offset)?);
        let values = self.kv_heads.split(&self.v_proj.forward(x)?)?;
        let output = attend(&queries, &keys, &values, cache, Scores::of(self.heads.dims))?;
        self.o_proj.forward(&self.heads.join(&output)?)
    }
}

struct SparseMlp {
    gate: Linear,
    switch_mlp: SwitchGlu,
    experts: Experts,
    normed: bool,
}

impl SparseMlp {
    fn load(weights: &mut Weights, path: &str, experts: Experts, normed: bool) -> Result<Self> {
        for name in ["gate_proj", "up_proj", "down_proj"] {
            let of = |expert| format!("{path}.experts.{expert}.{name}");
            stack(weights, experts.count, of, &format!("{path}.switch_mlp.{name}"))?;
        }
        let size = Size { rows: experts.count, columns: experts.hidden };
        let gate = format!("{path}.gate");
        weights.keep_fine(&gate);
        let gate = Linear::load(weights, &gate, size, Bias::None)?;
        let switch_mlp = SwitchGlu::load(weights, &format!("{path}.switch_mlp"), experts, Bias::None, swiglu)?;
        Ok(Self { gate, switch_mlp, experts, normed })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array) -> MlxResult<Array> {
        let gates = ops::softmax_axis(&self.gate.forward(x)?, -1, true)?;
        let mut choice = Choice::best(&gates, self.experts)?;
        if self.normed {
            choice.scores = ops::divide(&choice.scores, choice.scores.sum_axis(-1, true)?)?;
        }
        self.switch_mlp.forward(x, &choice)
    }
}

enum Mlp {
    Plain(GatedMlp),
    Sparse(SparseMlp),
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
        let normed = self.post_attention_layernorm.forward(&x)?;
        let y = match &self.mlp {
            Mlp::Plain(mlp) => mlp.forward(&normed)?,
            Mlp::Sparse(mlp) => mlp.forward(&normed)?,
        };
        add(&x, &y)
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
    let (hidden, wide, eps) = (sizes.hidden_size, sizes.intermediate_size, sizes.rms_norm_eps);
    let block = |weights: &mut Weights, path: &str, layer: usize| {
        let mlp_path = format!("{path}.mlp");
        let mlp = match args.experts(config, hidden, layer)? {
            Some(experts) => Mlp::Sparse(SparseMlp::load(weights, &mlp_path, experts, args.norm_topk_prob)?),
            None => Mlp::Plain(GatedMlp::load(weights, &mlp_path, hidden, wide, Bias::None, Gate::Silu)?),
        };
        let self_attn = Attention::load(weights, &format!("{path}.self_attn"), &sizes, &rope)?;
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), hidden, eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn,
            mlp,
        })
    };
    let around = Around::plain(sizes.is_tied(false));
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load(weights, path, hidden, eps);
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}
