//! Mixtral. Names and formulas are those of mlx-lm's `models/mixtral.py`.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};
use serde::Deserialize;

use super::Model;
use super::decoder::{Around, Block as Layer, Decoder};
use crate::array::add;
use crate::cache::{Cache, LayerCache};
use crate::config::Config;
use crate::config::rope::Rope as RopeSettings;
use crate::config::sizes::{Absent, Sizes};
use crate::error::Result;
use crate::layers::attention::{Heads, Scores, attend};
use crate::layers::experts::{Choice, Experts, SwitchGlu, stack};
use crate::layers::linear::{Bias, Linear};
use crate::layers::matrix::Size;
use crate::layers::mlp::swiglu;
use crate::layers::norm::RmsNorm;
use crate::layers::rope::{Offset, Rope};
use crate::weights::Weights;

const ABSENT: Absent = Absent { head_dim: None, context: None };

/// Base of the wavelengths where the config names none.
const THETA: f32 = 1e6;

/// The matrices of an expert in the published checkpoints, and their usual names.
const PUBLISHED: [(&str, &str); 3] = [("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")];

/// What `config.json` says beside the sizes and the rope, with mlx-lm's defaults.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    #[serde(default = "eight")]
    num_local_experts: i32,
    #[serde(default = "two")]
    num_experts_per_tok: i32,
}

fn eight() -> i32 {
    8
}

fn two() -> i32 {
    2
}

impl Args {
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
        let output = attend(&queries, &keys, &values, cache, Scores::of(self.heads.dims))?;
        self.o_proj.forward(&self.heads.join(&output)?)
    }
}

struct SparseMlp {
    gate: Linear,
    switch_mlp: SwitchGlu,
    experts: Experts,
}

impl SparseMlp {
    fn load(weights: &mut Weights, path: &str, experts: Experts) -> Result<Self> {
        for (published, name) in PUBLISHED {
            let of = |expert| format!("{path}.experts.{expert}.{published}");
            stack(weights, experts.count, of, &format!("{path}.switch_mlp.{name}"))?;
        }
        let size = Size { rows: experts.count, columns: experts.hidden };
        let gate = Linear::load(weights, &format!("{path}.gate"), size, Bias::None)?;
        let switch_mlp = SwitchGlu::load(weights, &format!("{path}.switch_mlp"), experts, Bias::None, swiglu)?;
        Ok(Self { gate, switch_mlp, experts })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array) -> MlxResult<Array> {
        let mut choice = Choice::best(&self.gate.forward(x)?, self.experts)?;
        choice.scores = ops::softmax_axis(&choice.scores, -1, true)?;
        self.switch_mlp.forward(x, &choice)
    }
}

struct Block {
    self_attn: Attention,
    mlp: SparseMlp,
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
    let experts = args.experts(config, &sizes)?;
    let rope = RopeSettings::read(config, THETA)?;
    let block = |weights: &mut Weights, path: &str, _| {
        let mut norm =
            |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), sizes.hidden_size, sizes.rms_norm_eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn: Attention::load(weights, &format!("{path}.self_attn"), &sizes, &rope)?,
            mlp: SparseMlp::load(weights, &format!("{path}.block_sparse_moe"), experts)?,
        })
    };
    let around = Around::plain(sizes.is_tied(false));
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load(weights, path, sizes.hidden_size, sizes.rms_norm_eps);
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}
