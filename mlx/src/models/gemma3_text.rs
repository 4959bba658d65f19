//! Gemma 3's language model: norms of 1 + weight before and after each part and on each head; most layers see a sliding
//! window, with a rope of their own. Names and formulas are those of mlx-lm's `models/gemma3_text.py`.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, Dtype, ops};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Model;
use super::decoder::{Around, Block as Layer, Decoder};
use crate::cache::{Cache, LayerCache};
use crate::config::Config;
use crate::config::rope::Rope as RopeSettings;
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

/// Bases of the wavelengths where the config names none.
const THETA: f32 = 1e6;

/// What `config.json` says beside the sizes and the ropes.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    query_pre_attn_scalar: f32,
    sliding_window_pattern: Option<i32>,
    #[serde(rename = "_sliding_window_pattern")]
    hidden_pattern: Option<i32>,
    rope_local_base_freq: f32,
}

impl Args {
    fn check(&self, config: &Config) -> Result<()> {
        config.check("sliding_window_pattern", self.pattern(), 1000)?;
        config.check_positive("query_pre_attn_scalar", self.query_pre_attn_scalar)?;
        config.check_positive("rope_local_base_freq", self.rope_local_base_freq)
    }

    fn pattern(&self) -> i32 {
        self.sliding_window_pattern.or(self.hidden_pattern).unwrap_or(6)
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
    scores: Scores<'static>,
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
            q_norm: RmsNorm::load_shifted(weights, &format!("{path}.q_norm"), heads.dims, sizes.rms_norm_eps)?,
            k_norm: RmsNorm::load_shifted(weights, &format!("{path}.k_norm"), heads.dims, sizes.rms_norm_eps)?,
            rope: Rope::new(rope, heads)?,
            heads,
            kv_heads,
            scores: Scores { scale: args.query_pre_attn_scalar.powf(-0.5), sinks: None, cap: None },
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let queries = self.q_norm.forward(&self.heads.split(&self.q_proj.forward(x)?)?)?;
        let keys = self.k_norm.forward(&self.kv_heads.split(&self.k_proj.forward(x)?)?)?;
        let (queries, keys) = (self.rope.forward(&queries, offset)?, self.rope.forward(&keys, offset)?);
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
    window: Option<i32>,
}

impl Layer for Block {
    fn forward(&self, x: &Array, cache: &mut LayerCache<'_>, offset: &Offset) -> MlxResult<Array> {
        let seen = self.self_attn.forward(&self.input_layernorm.forward(x)?, cache, offset)?;
        let x = add(x, &self.post_attention_layernorm.forward(&seen)?)?;
        let wide = self.mlp.forward(&self.pre_feedforward_layernorm.forward(&x)?)?;
        add(&x, &self.post_feedforward_layernorm.forward(&wide)?)
    }

    fn cache(&self) -> Cache {
        self.window.map_or_else(Cache::full, Cache::window)
    }
}

/// Sums of 16-bit numbers stay in their range: this model was trained with a wider one.
fn add(x: &Array, y: &Array) -> MlxResult<Array> {
    if x.dtype() != Dtype::Float16 {
        return ops::add(x, y);
    }
    let (wide, most) = (ops::add(x.as_dtype(Dtype::Float32)?, y.as_dtype(Dtype::Float32)?)?, 65504.0_f32);
    ops::clip(&wide, (-most, most))?.as_dtype(Dtype::Float16)
}

/// Takes all tensors of the model.
pub fn load(config: &Config, weights: &mut Weights) -> Result<Box<dyn Model>> {
    let config = &config.or(defaults());
    let sizes = Sizes::read(config, ABSENT)?;
    let args: Args = config.args()?;
    args.check(config)?;
    let pattern = args.pattern() as usize;
    // Every sixth sees everything, unless the config says which.
    let windows = windows::read(config, sizes.num_hidden_layers, |layer| !(layer + 1).is_multiple_of(pattern))?;
    let rope = RopeSettings::read(config, THETA)?;
    let sliding_rope = RopeSettings::read_sliding(config, args.rope_local_base_freq)?;
    let (hidden, wide, eps) = (sizes.hidden_size, sizes.intermediate_size, sizes.rms_norm_eps);
    let block = |weights: &mut Weights, path: &str, layer: usize| {
        let window = windows[layer];
        let rope = if window.is_some() { &sliding_rope } else { &rope };
        let mut norm = |name: &str| RmsNorm::load_shifted(weights, &format!("{path}.{name}"), hidden, eps);
        Ok(Block {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            pre_feedforward_layernorm: norm("pre_feedforward_layernorm")?,
            post_feedforward_layernorm: norm("post_feedforward_layernorm")?,
            self_attn: Attention::load(weights, &format!("{path}.self_attn"), &sizes, &args, rope)?,
            mlp: GatedMlp::load(weights, &format!("{path}.mlp"), hidden, wide, Bias::None, Gate::GeluTanh)?,
            window,
        })
    };
    let tied = !weights.has("lm_head", "weight");
    // The reference rounds it to bfloat16, whatever the type of the activations.
    let embedding_scale = Some(bfloat16((hidden as f32).sqrt()));
    let norm = |weights: &mut Weights, path: &str| RmsNorm::load_shifted(weights, path, hidden, eps);
    let around = Around { tied, embedding_scale, logit_cap: None };
    Ok(Box::new(Decoder::load(weights, &sizes, around, norm, block)?))
}

/// The nearest bfloat16, ties to even.
fn bfloat16(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// mlx-lm's defaults: exports leave out what is as in the smallest model.
fn defaults() -> Value {
    json!({
        "hidden_size": 1152, "num_hidden_layers": 26, "intermediate_size": 6912, "num_attention_heads": 4,
        "head_dim": 256, "rms_norm_eps": 1e-6, "vocab_size": 262_144, "num_key_value_heads": 1,
        "rope_local_base_freq": 10_000.0, "query_pre_attn_scalar": 256, "sliding_window": 512,
        "max_position_embeddings": 32_768,
    })
}
