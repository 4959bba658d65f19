//! Gemma 2: norms of 1 + weight before and after each part, bent scores and logits. Names and formulas are those of
//! mlx-lm's `models/gemma2.py`, in which, unlike in the paper, every layer sees everything.

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
use crate::error::Result;
use crate::layers::attention::{Heads, Scores, attend};
use crate::layers::linear::{Bias, Linear};
use crate::layers::matrix::Size;
use crate::layers::mlp::{Gate, GatedMlp};
use crate::layers::norm::RmsNorm;
use crate::layers::rope::{Offset, Rope};
use crate::weights::Weights;

const ABSENT: Absent = Absent { head_dim: Some(256), context: Some(8192) };

/// What `config.json` says beside the sizes and the rope, with mlx-lm's defaults.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    #[serde(default = "fifty")]
    attn_logit_softcapping: f32,
    #[serde(default = "thirty")]
    final_logit_softcapping: f32,
    #[serde(default = "gross")]
    query_pre_attn_scalar: f32,
}

fn fifty() -> f32 {
    50.0
}

fn thirty() -> f32 {
    30.0
}

fn gross() -> f32 {
    144.0
}

impl Args {
    fn check(&self, config: &Config) -> Result<()> {
        config.check_positive("attn_logit_softcapping", self.attn_logit_softcapping)?;
        config.check_positive("final_logit_softcapping", self.final_logit_softcapping)?;
        config.check_positive("query_pre_attn_scalar", self.query_pre_attn_scalar)
    }

    fn scores(&self) -> Scores<'static> {
        let scale = self.query_pre_attn_scalar.powf(-0.5);
        Scores { scale, sinks: None, cap: Some(self.attn_logit_softcapping) }
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
    scores: Scores<'static>,
}

impl Attention {
    fn load(
        weights: &mut Weights,
        path: &str,
        sizes: &Sizes,
        rope: &RopeSettings,
        scores: Scores<'static>,
    ) -> Result<Self> {
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
            scores,
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let queries = self.rope.forward(&self.heads.split(&self.q_proj.forward(x)?)?, offset)?;
        let keys = self.rope.forward(&self.kv_heads.split(&self.k_proj.forward(x)?)?, offset)?;
        let values = self.kv_heads.split(&self.v_proj.forward(x)?)?;
        let output = attend(&queries, &keys, &values, cache, self.scores)?;
        self.o_proj.forward(&self.heads.join(&output)?)
    }
}

struct Block {
    self_attn: Attention,
    mlp: GatedMlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
    pre_feedforward_layernorm: RmsNorm,
    post_feedforward_layernorm: RmsNorm,
}

impl Layer for Block {
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let seen = self.self_attn.forward(&self.input_layernorm.forward(x)?, cache, offset)?;
        let x = add(x, &self.post_attention_layernorm.forward(&seen)?)?;
        let wide = self.mlp.forward(&self.pre_feedforward_layernorm.forward(&x)?)?;
        add(&x, &self.post_feedforward_layernorm.forward(&wide)?)
    }

    fn cache(&self) -> Cache {
        Cache::full()
    }
}

/// Takes all tensors of the model.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Model>> {
    let sizes = Sizes::read(config, ABSENT)?;
    let args: Args = config.args()?;
    args.check(config)?;
    let rope = RopeSettings::read(config, rope::THETA)?;
    let (hidden, wide, eps) = (sizes.hidden_size, sizes.intermediate_size, sizes.rms_norm_eps);
    let block = |weights: &mut Weights, path: &str, _| {
        let mut norm = |name: &str| RmsNorm::load_shifted(weights, &format!("{path}.{name}"), hidden, eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            pre_feedforward_layernorm: norm("pre_feedforward_layernorm")?,
            post_feedforward_layernorm: norm("post_feedforward_layernorm")?,
            self_attn: Attention::load(weights, &format!("{path}.self_attn"), &sizes, &rope, args.scores())?,
            mlp: GatedMlp::load(weights, &format!("{path}.mlp"), hidden, wide, Bias::None, Gate::GeluTanh)?,
        })
    };
    let embedding_scale = Some((hidden as f32).sqrt());
    let around = Around { tied: true, embedding_scale, logit_cap: Some(args.final_logit_softcapping) };
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load_shifted(weights, path, hidden, eps);
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}
