//! Mixtures of experts: a router chooses a few of many MLPs for each token. Formulas are those of mlx-lm's
//! `models/switch_layers.py`; how the scores of the chosen are made is each model's own.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ops};

use super::linear::Bias;
use super::matrix::Size;
use super::quantized::{Order, Quantized};
use crate::config::Config;
use crate::error::Result;
use crate::weights::Weights;

/// Choices from which on tokens are brought into the order of their experts.
const SORTED_FROM: usize = 64;

/// Sizes of all experts of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Experts {
    /// How many there are.
    pub count: i32,
    /// How many each token gets.
    pub chosen: i32,
    /// Numbers that go in and come out.
    pub hidden: i32,
    /// Numbers between the two halves of an expert.
    pub wide: i32,
}

impl Experts {
    /// That the numbers, which stand in `config` under the given names, lie in their ranges.
    pub fn check(self, config: &Config, count: &str, chosen: &str, wide: &str) -> Result<Self> {
        config.check(count, self.count, 1 << 12)?;
        config.check(chosen, self.chosen, self.count)?;
        config.check(wide, self.wide, 1 << 20)?;
        Ok(self)
    }
}

/// The experts of each token, and what the router made of them.
pub struct Choice {
    /// `[rows, tokens, chosen]`
    experts: Array,
    /// As `experts`.
    pub scores: Array,
}

impl Choice {
    /// Those with the highest of `scores`, `[rows, tokens, count]`, in no order.
    pub fn best(scores: &Array, experts: Experts) -> MlxResult<Self> {
        let rest = experts.count - experts.chosen;
        let ordered = ops::argpartition_axis(scores, rest, -1)?;
        let chosen = ordered.split_at_indices(&[rest], -1)?.pop();
        let experts = chosen.ok_or_else(|| mlx_rs::error::Exception::custom("no expert is chosen"))?;
        let scores = scores.take_along_axis(&experts, -1)?;
        Ok(Self { experts, scores })
    }
}

/// What lies between the two halves of an expert: of its gate and of what the gate is for.
pub type Activation = fn(&Array, &Array) -> MlxResult<Array>;

/// All experts of a layer.
pub struct SwitchGlu {
    gate: SwitchLinear,
    up: SwitchLinear,
    down: SwitchLinear,
    activation: Activation,
}

impl SwitchGlu {
    /// Takes `path.gate_proj`, `path.up_proj` and `path.down_proj`, each with the matrices of all experts.
    pub fn load(
        weights: &mut Weights,
        path: &str,
        experts: Experts,
        bias: Bias,
        activation: Activation,
    ) -> Result<Self> {
        let Experts { count, hidden, wide, .. } = experts;
        let mut linear = |name: &str, rows: i32, columns: i32| {
            SwitchLinear::load(weights, &format!("{path}.{name}"), count, Size { rows, columns }, bias)
        };
        Ok(Self {
            gate: linear("gate_proj", wide, hidden)?,
            up: linear("up_proj", wide, hidden)?,
            down: linear("down_proj", hidden, wide)?,
            activation,
        })
    }

    /// The sum of what the chosen experts make of `x`, `[rows, tokens, hidden]`, each times its score.
    pub fn forward(&self, x: &Array, choice: &Choice) -> MlxResult<Array> {
        let Choice { experts, scores } = choice;
        let y = if experts.size() < SORTED_FROM {
            self.run(&x.expand_dims_axes(&[-2, -3])?, experts, Order::Any)?
        } else {
            self.sorted(x, experts)?
        };
        // [rows, tokens, chosen, 1, hidden], and a score for each of the chosen
        ops::multiply(&y.squeeze_axes(&[-2])?, scores.expand_dims(-1)?)?.sum_axis(-2, false)
    }

    /// `run` with the choices in the order of their experts, and back.
    fn sorted(&self, x: &Array, experts: &Array) -> MlxResult<Array> {
        let &[rows, tokens, chosen] = experts.shape() else {
            return Err(mlx_rs::error::Exception::custom(format!("no experts in the shape {:?}", experts.shape())));
        };
        let flat = experts.reshape(&[-1])?;
        let order = ops::argsort_axis(&flat, 0)?;
        let token = ops::floor_divide(&order, Array::from_slice(&[chosen as u32], &[1]))?;
        let x = ops::indexing::take_axis(x.reshape(&[rows * tokens, 1, -1])?, &token, 0)?;
        let sorted = ops::indexing::take_axis(&flat, &order, 0)?;
        let y = self.run(&x, &sorted, Order::Sorted)?;
        let back = ops::argsort_axis(&order, 0)?;
        ops::indexing::take_axis(&y, &back, 0)?.reshape(&[rows, tokens, chosen, 1, -1])
    }

    /// `x`: `[…, 1, hidden]`, with axes that go with those of `experts`.
    fn run(&self, x: &Array, experts: &Array, order: Order) -> MlxResult<Array> {
        let (gate, up) = (self.gate.forward(x, experts, order)?, self.up.forward(x, experts, order)?);
        self.down.forward(&(self.activation)(&gate, &up)?, experts, order)
    }
}

/// The matrices of all experts, and what is added after them.
struct SwitchLinear {
    weight: Stack,
    /// `[count, rows]`
    bias: Option<Array>,
}

impl SwitchLinear {
    fn load(weights: &mut Weights, path: &str, count: i32, size: Size, bias: Bias) -> Result<Self> {
        let weight = Stack::load(weights, path, count, size)?;
        let bias = match bias {
            Bias::None => None,
            Bias::Added => Some(weights.take(path, "bias", &[count, size.rows])?),
        };
        Ok(Self { weight, bias })
    }

    /// `[…, 1, columns]` to `[…, 1, rows]`
    fn forward(&self, x: &Array, experts: &Array, order: Order) -> MlxResult<Array> {
        let product = self.weight.matmul(x, experts, order)?;
        match &self.bias {
            Some(bias) => ops::add(&product, ops::indexing::take_axis(bias, experts, 0)?.expand_dims(-2)?),
            None => Ok(product),
        }
    }
}

/// One matrix of each expert.
enum Stack {
    /// Plain numbers, `[count, columns, rows]`: a view of the other way round.
    Dense(Array),
    /// Packed ones.
    Quantized(Quantized),
}

impl Stack {
    /// Takes the tensors of `path`. It is quantized if there are scales.
    fn load(weights: &mut Weights, path: &str, count: i32, size: Size) -> Result<Self> {
        let shape = [count, size.rows, size.columns];
        let Some(packing) = weights.packing(path, size.columns)? else {
            return Self::dense(&weights.take(path, "weight", &shape)?);
        };
        let quantized = Quantized::load(weights, path, packing, &shape)?;
        if !weights.unpacks() {
            return Ok(Self::Quantized(quantized));
        }
        let dense = quantized.unpacked()?;
        dense.eval()?;
        weights.replace(quantized.bytes(), dense.nbytes());
        Self::dense(&dense)
    }

    fn dense(weight: &Array) -> Result<Self> {
        let transposed = weight.swap_axes(-1, -2)?;
        transposed.eval()?;
        Ok(Self::Dense(transposed))
    }

    /// `x · wᵀ`, with the matrix of each of `experts`.
    fn matmul(&self, x: &Array, experts: &Array, order: Order) -> MlxResult<Array> {
        match self {
            Self::Dense(transposed) => ops::gather_mm(x, transposed, None, experts, order == Order::Sorted),
            Self::Quantized(quantized) => quantized.gather(x, experts, order),
        }
    }
}

/// Makes one tensor of those that older exports have for each expert: `from(expert)` is the path of one, and their parts
/// become those of `to`. Does nothing where there are none.
pub fn stack(weights: &mut Weights, count: i32, from: impl Fn(i32) -> String, to: &str) -> Result<()> {
    for part in ["weight", "scales", "biases"] {
        let name = |expert| format!("{}.{part}", from(expert));
        let Some(first) = weights.remove(&name(0)) else { continue };
        let mut all = vec![first];
        for expert in 1..count {
            let name = name(expert);
            let next = weights.remove(&name).ok_or_else(|| weights.missing(&name))?;
            let (found, wanted) = ((next.shape(), next.dtype()), (all[0].shape(), all[0].dtype()));
            if found != wanted {
                return Err(weights.broken(&format!("{name} is {found:?}, but that of the first expert {wanted:?}")));
            }
            all.push(next);
        }
        weights.insert(format!("{to}.{part}"), ops::stack(&all, 0)?)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "experts_tests.rs"]
mod tests;
