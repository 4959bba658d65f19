//! How the next token is chosen from the logits. Order and formulas are those of mlx-lm's `sample_utils.py`:
//! logit bias, then [`penalties`], then [`filters`] on log-probabilities without temperature, then the draw.
//!
//! Nothing here reads a number back: the last tokens and the random key stay arrays, so that a step can be built
//! before the one before it is done.

mod along;
pub mod batch;
mod filters;
mod penalties;

use engine::message::{Sampling, TokenId, Xtc};
use mlx_rs::error::Result as MlxResult;
use mlx_rs::ops::indexing::{argmax_axis, put_along_axis, take_along_axis};
use mlx_rs::{Array, Dtype, ops, random};

use self::penalties::Penalties;
use crate::array::{scalar, tail, tokens};
use crate::error::{Error, Result};

/// Below this temperature the likeliest token is taken: its inverse has to be a number, and times a logit too.
const COLDEST: f32 = 1e-6;

/// Least share of `top_p`, below what the likeliest token of any vocabulary has: times a sum it has to be above zero.
const LEAST_SHARE: f32 = 1e-7;

/// Last tokens, of prompt and answer together, that penalties look at.
const HISTORY: usize = 20;

/// The choices of one sequence.
pub struct Sampler {
    sampling: Sampling,
    /// `[1, vocabulary]`, absent where there is none.
    bias: Option<Array>,
    /// Absent where nothing is penalized.
    penalized: Option<(Penalties, History)>,
    /// Split at each draw.
    key: Array,
}

/// The last tokens, `[n]` with n up to [`HISTORY`].
#[derive(Clone)]
struct History(Array);

impl Sampler {
    /// For a sequence that starts with `prompt`, and a model with `vocab_size` tokens.
    pub fn new(sampling: &Sampling, prompt: &[TokenId], vocab_size: u32) -> Result<Self> {
        check(sampling)?;
        let penalties = Penalties::of(sampling);
        let penalized = penalties.map(|penalties| (penalties, History::of(prompt)));
        let bias = bias(&sampling.logit_bias, vocab_size)?;
        check_spared(sampling, vocab_size)?;
        let mut sampling = sampling.clone();
        if sampling.temperature < COLDEST {
            sampling.temperature = 0.0;
        }
        sampling.top_p = sampling.top_p.max(LEAST_SHARE);
        let key = random::key(sampling.seed)?;
        Ok(Self { sampling, bias, penalized, key })
    }

    /// The token after `logits` of shape `[1, vocabulary]`, as an array of shape `[1]` that is yet to be computed.
    pub fn next(&mut self, logits: &Array) -> MlxResult<Array> {
        let logits = self.adjust(logits)?;
        let token = if self.sampling.temperature > 0.0 {
            self.draw(&logits)?
        } else {
            // The likeliest token is that of the greatest logit: no probability is needed.
            argmax_axis(&logits, -1, None)?
        };
        if let Some((_, history)) = &mut self.penalized {
            history.push(&token)?;
        }
        Ok(token)
    }

    /// Whether the logits change before anything is chosen.
    fn adjusts(&self) -> bool {
        self.bias.is_some() || self.penalized.is_some()
    }

    /// The key of the next draw.
    fn draw_key(&mut self) -> MlxResult<Array> {
        let (key, draw) = random::split(&self.key, 2)?;
        self.key = key;
        Ok(draw)
    }

    /// Bias and penalties. Logits that need none stay in the model's type.
    fn adjust(&self, logits: &Array) -> MlxResult<Array> {
        let mut logits = logits.clone();
        if let Some(bias) = &self.bias {
            logits = ops::add(&logits.as_dtype(Dtype::Float32)?, bias)?;
        }
        match &self.penalized {
            Some((penalties, history)) => penalties.apply(&logits.as_dtype(Dtype::Float32)?, &history.0),
            None => Ok(logits),
        }
    }

    /// `sample_utils.make_sampler`. Probabilities are needed by `top_p` only: the other filters and the draw look at
    /// differences, which log-probabilities share with logits.
    fn draw(&mut self, logits: &Array) -> MlxResult<Array> {
        let mut logits = logits.as_dtype(Dtype::Float32)?;
        let Sampling { temperature, top_p, min_p, top_k, .. } = self.sampling;
        if top_p < 1.0 {
            logits = ops::subtract(&logits, &logits.logsumexp_axis(-1, true)?)?;
            logits = filters::top_p(&logits, &Array::from_f32(top_p))?;
        }
        if min_p > 0.0 {
            logits = filters::min_p(&logits, &Array::from_f32(min_p.ln()))?;
        }
        if self.sampling.xtc.is_some() {
            let draw = self.draw_key()?;
            logits = self.xtc(&logits, &draw)?;
        }
        if (1..logits.shape()[1] as u32).contains(&top_k) {
            logits = filters::top_k(&logits, top_k as i32)?;
        }
        let draw = self.draw_key()?;
        drawn(&ops::multiply(&logits, &scalar(1.0 / temperature, &logits)?)?, &draw)
    }
}

/// A token for logits `[1, vocabulary]`.
fn drawn(logits: &Array, draw: &Array) -> MlxResult<Array> {
    possible(logits, &random::categorical(logits, -1, None, draw)?)
}

/// The token `[1]`, or the likeliest in the place of one whose logit is −∞. MLX looks up a number below the sum of all
/// weights among the sums up to each token. A GPU adds both in other orders: where they round differently, a token without
/// weight may be met.
fn possible(logits: &Array, token: &Array) -> MlxResult<Array> {
    let logit = take_along_axis(logits, &token.reshape(&[1, 1])?, -1)?.reshape(&[1])?;
    let cannot_be = logit.eq(&scalar(f32::NEG_INFINITY, &logit)?)?;
    ops::select(&cannot_be, &argmax_axis(logits, -1, None)?, token)
}

impl Sampler {
    /// `sample_utils.apply_xtc`: now and then, all but the least likely of the tokens above a threshold are dropped.
    fn xtc(&self, logits: &Array, draw: &Array) -> MlxResult<Array> {
        let Some(Xtc { probability, threshold, spared }) = &self.sampling.xtc else { return Ok(logits.clone()) };
        let mut dropped = filters::xtc(logits, &Array::from_f32(*threshold))?;
        if !spared.is_empty() {
            let spared = tokens(spared).reshape(&[1, -1])?;
            dropped = put_along_axis(&dropped, &spared, Array::from_bool(false), -1)?;
        }
        let happens = filters::chance(draw)?.le(Array::from_f32(*probability))?;
        filters::keep_unless(logits, &happens.logical_and(&dropped)?)
    }
}

impl History {
    fn of(prompt: &[TokenId]) -> Self {
        Self(tokens(&prompt[prompt.len().saturating_sub(HISTORY)..]))
    }

    fn push(&mut self, token: &Array) -> MlxResult<()> {
        let longer = ops::concatenate(&[&self.0, token], 0)?;
        let excess = longer.shape()[0] - HISTORY as i32;
        self.0 = if excess > 0 { tail(&longer, excess)? } else { longer };
        Ok(())
    }
}

/// All biases as one row, those of one token added up.
fn bias(biases: &[(TokenId, f32)], vocab_size: u32) -> Result<Option<Array>> {
    if biases.is_empty() {
        return Ok(None);
    }
    let mut row = vec![0.0; vocab_size as usize];
    for (token, bias) in biases {
        let slot = row.get_mut(*token as usize);
        let slot = slot.ok_or_else(|| Error::Internal(format!("logit_bias names token {token} of {vocab_size}")))?;
        *slot += bias;
    }
    Ok(Some(Array::from_slice(&row, &[1, vocab_size as i32])))
}

/// The daemon checks what apps send; this keeps a fault of its own from becoming numbers that mean nothing.
fn check(sampling: &Sampling) -> Result<()> {
    let biases_finite = sampling.logit_bias.iter().all(|(_, bias)| bias.is_finite());
    let sound = [
        ("temperature", sampling.temperature.is_finite() && sampling.temperature >= 0.0),
        ("top_p", sampling.top_p > 0.0 && sampling.top_p <= 1.0),
        ("min_p", (0.0..=1.0).contains(&sampling.min_p)),
        ("xtc", sampling.xtc.as_ref().is_none_or(is_sound)),
        ("repetition_penalty", sampling.repetition_penalty.is_finite() && sampling.repetition_penalty > 0.0),
        ("presence_penalty", sampling.presence_penalty.is_finite()),
        ("frequency_penalty", sampling.frequency_penalty.is_finite()),
        ("logit_bias", biases_finite),
    ];
    match sound.iter().find(|(_, sound)| !sound) {
        Some((name, _)) => Err(Error::Internal(format!("{name} of {sampling:?} is out of its range"))),
        None => Ok(()),
    }
}

/// MLX writes past the end of a row otherwise.
fn check_spared(sampling: &Sampling, vocab_size: u32) -> Result<()> {
    let mut spared = sampling.xtc.iter().flat_map(|xtc| &xtc.spared);
    match spared.find(|token| **token >= vocab_size) {
        Some(token) => Err(Error::Internal(format!("xtc spares token {token} of {vocab_size}"))),
        None => Ok(()),
    }
}

fn is_sound(xtc: &Xtc) -> bool {
    (0.0..=1.0).contains(&xtc.probability) && (0.0..=0.5).contains(&xtc.threshold)
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
