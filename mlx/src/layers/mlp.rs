//! The gated MLP that most architectures share.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};

use super::linear::{Bias, Linear};
use super::matrix::Size;
use crate::error::Result;
use crate::weights::Weights;

/// `down(silu(gate(x)) · up(x))`
pub struct GatedMlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl GatedMlp {
    /// Takes `path.gate_proj`, `path.up_proj` and `path.down_proj`; `wide` numbers lie between them.
    pub fn load(weights: &mut Weights, path: &str, hidden: i32, wide: i32, bias: Bias) -> Result<Self> {
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, bias)
        };
        Ok(Self {
            gate: linear("gate_proj", wide, hidden)?,
            up: linear("up_proj", wide, hidden)?,
            down: linear("down_proj", hidden, wide)?,
        })
    }

    /// `x`: `[1, tokens, hidden]`
    pub fn forward(&self, x: &Array) -> MlxResult<Array> {
        self.down.forward(&swiglu(&self.gate.forward(x)?, &self.up.forward(x)?)?)
    }
}

/// `gate · sigmoid(gate) · up`
pub fn swiglu(gate: &Array, up: &Array) -> MlxResult<Array> {
    ops::multiply(ops::multiply(gate, ops::sigmoid(gate)?)?, up)
}
