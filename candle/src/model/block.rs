//! One layer: attention and MLP, with norms before each, and in Gemma 2 and 3 after each too.

use candle_core::{D, Result as CandleResult, Tensor};
use candle_nn::ops;

use super::attention::{Attention, Place};
use crate::cache::Cache;
use crate::config::{Config, Gate};
use crate::error::Result;
use crate::weights::{Kind, Linear, Weights};

pub struct Block {
    /// Whether it sees a window only.
    pub slides: bool,
    input_layernorm: Norm,
    self_attn: Attention,
    /// Before the MLP.
    middle: Norm,
    /// After attention and after the MLP.
    after: Option<[Norm; 2]>,
    mlp: Mlp,
}

struct Mlp {
    gate_up: GateUp,
    down: Linear,
    gate: Gate,
}

enum GateUp {
    Apart([Linear; 2]),
    /// Both under each other, each of so many rows.
    Joined(Linear, usize),
}

/// Root mean square.
pub struct Norm {
    weight: Tensor,
    eps: f32,
}

impl Block {
    pub fn load(weights: &mut Weights, config: &Config, layer: usize, slides: bool) -> Result<Self> {
        let path = format!("model.layers.{layer}");
        let mut norm = |name: &str| Norm::load(weights, &format!("{path}.{name}"), config.hidden_size, config);
        let input_layernorm = norm("input_layernorm")?;
        // Gemma 2 and 3 have it after attention, and the others, by the same name, before the MLP.
        let post_attention = norm("post_attention_layernorm")?;
        let (middle, after) = if config.norms_after() {
            (norm("pre_feedforward_layernorm")?, Some([post_attention, norm("post_feedforward_layernorm")?]))
        } else {
            (post_attention, None)
        };
        let self_attn = Attention::load(weights, &format!("{path}.self_attn"), config)?;
        let mlp = Mlp::load(weights, &format!("{path}.mlp"), config)?;
        Ok(Self { slides, input_layernorm, self_attn, middle, after, mlp })
    }

    pub fn forward(&self, x: &Tensor, cache: &mut Cache, place: &Place) -> CandleResult<Tensor> {
        let after =
            |index: usize, x: Tensor| self.after.as_ref().map_or(Ok(x.clone()), |norms| norms[index].forward(&x));
        let seen = self.self_attn.forward(&self.input_layernorm.forward(x)?, cache, place)?;
        let x = (x + after(0, seen)?)?;
        let wide = self.mlp.forward(&self.middle.forward(&x)?)?;
        x + after(1, wide)?
    }
}

impl Mlp {
    fn load(weights: &mut Weights, path: &str, config: &Config) -> Result<Self> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let kind = Kind { bias: config.mlp_bias, heads: None };
        let mut linear = |name: &str, size| weights.linear(&format!("{path}.{name}"), size, kind);
        let gate_up = if config.is_joined() {
            GateUp::Joined(linear("gate_up_proj", [2 * wide, hidden])?, wide)
        } else {
            GateUp::Apart([linear("gate_proj", [wide, hidden])?, linear("up_proj", [wide, hidden])?])
        };
        Ok(Self { gate_up, down: linear("down_proj", [hidden, wide])?, gate: config.gate() })
    }

    fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        let (gate, up) = match &self.gate_up {
            GateUp::Apart([gate, up]) => (gate.forward(x)?, up.forward(x)?),
            GateUp::Joined(both, wide) => {
                let both = both.forward(x)?;
                (both.narrow(D::Minus1, 0, *wide)?, both.narrow(D::Minus1, *wide, *wide)?)
            }
        };
        let gate = match self.gate {
            Gate::Silu => gate.silu()?,
            Gate::Gelu => gate.gelu_erf()?,
            Gate::GeluTanh => gate.gelu()?,
        };
        self.down.forward(&(gate * up)?)
    }
}

impl Norm {
    /// The weight of `len` numbers under `path`.
    pub fn load(weights: &mut Weights, path: &str, len: usize, config: &Config) -> Result<Self> {
        let weight = weights.vector(&format!("{path}.weight"), len)?;
        let weight = if weights.are_norms_less_one(config) { (weight + 1.0)? } else { weight };
        Ok(Self { weight, eps: config.rms_norm_eps })
    }

    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        debug_assert_eq!(x.dim(D::Minus1)?, self.weight.dim(0)?);
        ops::rms_norm(&x.contiguous()?, &self.weight, self.eps)
    }
}
