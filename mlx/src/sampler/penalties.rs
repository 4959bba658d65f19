//! What lowers the logits of tokens that came lately. Logits have shape `[1, vocabulary]`, `history` shape `[n]`.

use engine::message::Sampling;
use mlx_rs::error::{Exception, Result};
use mlx_rs::ops::indexing::{TryIndexUpdateOp, UpdateMode, put_along_axis, take_along_axis};
use mlx_rs::{Array, ops};

use crate::array::scalar;

/// The penalties of one sequence, at least one; each absent where it would change nothing.
#[derive(Debug, Clone, Copy)]
pub struct Penalties {
    repetition: Option<f32>,
    presence: Option<f32>,
    frequency: Option<f32>,
}

impl Penalties {
    /// Those of `sampling`, if any.
    pub fn of(sampling: &Sampling) -> Option<Self> {
        let unless = |neutral: f32, value: f32| ((value - neutral).abs() > 0.0).then_some(value);
        let repetition = unless(1.0, sampling.repetition_penalty);
        let presence = unless(0.0, sampling.presence_penalty);
        let frequency = unless(0.0, sampling.frequency_penalty);
        repetition.or(presence).or(frequency).map(|_| Self { repetition, presence, frequency })
    }

    /// One after the other.
    pub fn apply(&self, logits: &Array, history: &Array) -> Result<Array> {
        let mut logits = logits.clone();
        if let Some(penalty) = self.repetition {
            logits = repetition(&logits, history, penalty)?;
        }
        if let Some(penalty) = self.presence {
            logits = presence(&logits, history, penalty)?;
        }
        if let Some(penalty) = self.frequency {
            logits = frequency(&logits, history, penalty)?;
        }
        Ok(logits)
    }
}

/// Divides positive logits by `penalty` and multiplies negative ones: `sample_utils.make_repetition_penalty`, from
/// <https://arxiv.org/abs/1909.05858>. A token that came twice is penalized once.
fn repetition(logits: &Array, history: &Array, penalty: f32) -> Result<Array> {
    let history = history.reshape(&[1, -1])?;
    let chosen = take_along_axis(logits, &history, -1)?;
    let penalty = scalar(penalty, logits)?;
    let lower = ops::select(
        &chosen.lt(scalar(0.0, logits)?)?,
        &ops::multiply(&chosen, &penalty)?,
        &ops::divide(&chosen, &penalty)?,
    )?;
    put_along_axis(logits, &history, &lower, -1)
}

/// Subtracts `penalty` once: `sample_utils.make_presence_penalty`.
fn presence(logits: &Array, history: &Array, penalty: f32) -> Result<Array> {
    let history = history.reshape(&[1, -1])?;
    let lower = ops::subtract(&take_along_axis(logits, &history, -1)?, &scalar(penalty, logits)?)?;
    put_along_axis(logits, &history, &lower, -1)
}

/// Subtracts `penalty` for each time a token came: `sample_utils.make_frequency_penalty`.
fn frequency(logits: &Array, history: &Array, penalty: f32) -> Result<Array> {
    let penalties = ops::broadcast_to(&scalar(-penalty, logits)?, &[1, history.shape()[0]])?;
    let updated = logits.try_index_update((.., history), &penalties, UpdateMode::Add);
    updated.map_err(|error| Exception::custom(error.to_string()))
}
