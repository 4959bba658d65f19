//! The gated MLP that most architectures share.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};

use super::linear::{Bias, Linear};
use super::matrix::Size;
use crate::array::{multiply, scalar, sigmoid};
use crate::error::Result;
use crate::weights::Weights;

/// What the gate goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `x · sigmoid(x)`
    Silu,
    /// `x · (1 + erf(x / √2)) / 2`
    Gelu,
    /// `x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2`, which stands for the error function's.
    GeluTanh,
}

/// `down(activation(gate(x)) · up(x))`
pub struct GatedMlp {
    activation: Gate,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl GatedMlp {
    /// Takes `path.gate_proj`, `path.up_proj` and `path.down_proj`; `wide` numbers lie between them.
    pub fn load(
        weights: &mut Weights,
        path: &str,
        hidden: i32,
        wide: i32,
        bias: Bias,
        activation: Gate,
    ) -> Result<Self> {
        let mut linear = |name: &str, rows: i32, columns: i32| {
            Linear::load(weights, &format!("{path}.{name}"), Size { rows, columns }, bias)
        };
        Ok(Self {
            activation,
            gate: linear("gate_proj", wide, hidden)?,
            up: linear("up_proj", wide, hidden)?,
            down: linear("down_proj", hidden, wide)?,
        })
    }

    /// `x`: `[rows, tokens, hidden]`
    pub fn forward(&self, x: &Array) -> MlxResult<Array> {
        let (gate, up) = (self.gate.forward(x)?, self.up.forward(x)?);
        self.down.forward(&match self.activation {
            Gate::Silu => swiglu(&gate, &up)?,
            Gate::Gelu => ops::multiply(gelu(&gate)?, &up)?,
            Gate::GeluTanh => ops::multiply(gelu_tanh(&gate)?, &up)?,
        })
    }
}

/// `gate · sigmoid(gate) · up`
pub fn swiglu(gate: &Array, up: &Array) -> MlxResult<Array> {
    multiply(&multiply(gate, &sigmoid(gate)?)?, up)
}

fn gelu(x: &Array) -> MlxResult<Array> {
    let number = |value: f32| scalar(value, x);
    let share = ops::erf(ops::divide(x, number(std::f32::consts::SQRT_2)?)?)?;
    ops::divide(ops::multiply(x, ops::add(share, number(1.0)?)?)?, number(2.0)?)
}

fn gelu_tanh(x: &Array) -> MlxResult<Array> {
    let number = |value: f32| scalar(value, x);
    let cube = ops::multiply(ops::multiply(x, x)?, x)?;
    let inner = ops::add(x, ops::multiply(cube, number(0.044_715)?)?)?;
    let turned = ops::tanh(ops::multiply(inner, number((2.0 / std::f32::consts::PI).sqrt())?)?)?;
    ops::multiply(ops::multiply(x, number(0.5)?)?, ops::add(turned, number(1.0)?)?)
}
