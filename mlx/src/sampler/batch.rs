//! The next tokens of several sequences at once, each by its own options, seed and history.
//!
//! A row gets, to the last bit, what [`Sampler::next`] gives it alone for the same logits: every operation works row by
//! row or number by number, and what a row does not ask for leaves its numbers as they are.

use std::collections::BTreeSet;

use engine::message::Sampling;
use mlx_rs::error::Result;
use mlx_rs::ops::indexing::argmax_axis;
use mlx_rs::{Array, Dtype, ops};

use super::{Sampler, filters};
use crate::array::part;

/// The tokens `[rows]` after logits of shape `[rows, vocabulary]`, yet to be computed.
pub fn next(samplers: &mut [&mut Sampler], logits: &Array) -> Result<Array> {
    if let [sampler] = samplers {
        return sampler.next(logits);
    }
    let logits = adjusted(samplers, logits)?;
    let tokens = if samplers.iter().any(|sampler| draws(&sampler.sampling)) {
        drawn(samplers, &logits)?
    } else {
        argmax_axis(&logits, -1, None)?
    };
    for (row, sampler) in samplers.iter_mut().enumerate() {
        if let Some((_, history)) = &mut sampler.penalized {
            history.push(&part(&tokens, row as i32, row as i32 + 1)?)?;
        }
    }
    Ok(tokens)
}

/// Bias and penalties, of the rows that have them.
fn adjusted(samplers: &[&mut Sampler], logits: &Array) -> Result<Array> {
    if !samplers.iter().any(|sampler| sampler.adjusts()) {
        return Ok(logits.clone());
    }
    let logits = logits.as_dtype(Dtype::Float32)?;
    let mut start = 0;
    let mut parts = Vec::new();
    for run in samplers.chunk_by(|a, b| !a.adjusts() && !b.adjusts()) {
        let end = start + run.len() as i32;
        let rows = part(&logits, start, end)?;
        parts.push(match run {
            [sampler] => sampler.adjust(&rows)?,
            _ => rows,
        });
        start = end;
    }
    ops::concatenate(&parts, 0)
}

/// Whether a token is drawn, and not the likeliest taken.
fn draws(sampling: &Sampling) -> bool {
    sampling.temperature > 0.0
}

/// The draws of all, the likeliest token where a row does not draw. Each filter runs once, where anybody asks for it.
fn drawn(samplers: &mut [&mut Sampler], logits: &Array) -> Result<Array> {
    let logits = top_p(samplers, logits.as_dtype(Dtype::Float32)?)?;
    let logits = min_p(samplers, logits)?;
    let logits = xtc(samplers, logits)?;
    let logits = top_k(samplers, logits)?;
    let cooling = column(samplers, |own| if draws(own) { 1.0 / own.temperature } else { 1.0 });
    choices(samplers, &ops::multiply(&logits, &cooling)?)
}

/// A draw for each row with its own key, as MLX draws for one row alone, which is not how it draws for several: it
/// would take all their noise from one key. Those that take the likeliest token do so together.
fn choices(samplers: &mut [&mut Sampler], logits: &Array) -> Result<Array> {
    let mut start = 0;
    let mut parts = Vec::new();
    for run in samplers.chunk_by_mut(|a, b| !draws(&a.sampling) && !draws(&b.sampling)) {
        let end = start + run.len() as i32;
        let rows = part(logits, start, end)?;
        parts.push(match run {
            [sampler] if draws(&sampler.sampling) => super::drawn(&rows, &sampler.draw_key()?)?,
            _ => argmax_axis(&rows, -1, None)?,
        });
        start = end;
    }
    ops::concatenate(&parts, 0)
}

fn top_p(samplers: &[&mut Sampler], logits: Array) -> Result<Array> {
    let wants = |own: &Sampling| draws(own) && own.top_p < 1.0;
    if !any(samplers, wants) {
        return Ok(logits);
    }
    let logprobs = ops::subtract(&logits, &logits.logsumexp_axis(-1, true)?)?;
    let filtered = filters::top_p(&logprobs, &column(samplers, |own| own.top_p))?;
    ops::select(flags(samplers, wants), &filtered, &logits)
}

fn min_p(samplers: &[&mut Sampler], logits: Array) -> Result<Array> {
    let wants = |own: &Sampling| draws(own) && own.min_p > 0.0;
    if !any(samplers, wants) {
        return Ok(logits);
    }
    // No logit is below −∞.
    filters::min_p(&logits, &column(samplers, |own| if wants(own) { own.min_p.ln() } else { f32::NEG_INFINITY }))
}

fn top_k(samplers: &[&mut Sampler], logits: Array) -> Result<Array> {
    let size = logits.shape()[1] as u32;
    let wants = |own: &Sampling| draws(own) && (1..size).contains(&own.top_k);
    let counts: BTreeSet<u32> =
        samplers.iter().map(|row| &row.sampling).filter(|own| wants(own)).map(|own| own.top_k).collect();
    counts.into_iter().try_fold(logits, |logits, count| {
        let filtered = filters::top_k(&logits, count as i32)?;
        ops::select(flags(samplers, |own| wants(own) && own.top_k == count), &filtered, &logits)
    })
}

fn xtc(samplers: &mut [&mut Sampler], logits: Array) -> Result<Array> {
    let wants = |own: &Sampling| draws(own) && own.xtc.is_some();
    if !any(samplers, wants) {
        return Ok(logits);
    }
    let chances = samplers.iter_mut().map(|sampler| {
        if wants(&sampler.sampling) {
            filters::chance(&sampler.draw_key()?)
        } else {
            ops::zeros_dtype(&[1, 1], Dtype::Float32)
        }
    });
    let chances = ops::concatenate(&chances.collect::<Result<Vec<_>>>()?, 0)?;
    // It never happens where the probability is below 0.
    let of = |own: &Sampling| {
        own.xtc.as_ref().filter(|_| wants(own)).map_or((-1.0, 0.5), |xtc| (xtc.probability, xtc.threshold))
    };
    let happens = chances.le(column(samplers, |own| of(own).0))?;
    let dropped = filters::xtc(&logits, &column(samplers, |own| of(own).1))?;
    filters::keep_unless(&logits, &happens.logical_and(&spare(samplers, dropped)?)?)
}

/// `dropped` without the tokens that a row spares.
fn spare(samplers: &[&mut Sampler], dropped: Array) -> Result<Array> {
    let spared =
        |sampler: &Sampler| sampler.sampling.xtc.iter().flat_map(|xtc| &xtc.spared).copied().collect::<Vec<_>>();
    let spared: Vec<Vec<u32>> = samplers.iter().map(|sampler| spared(sampler)).collect();
    let longest = spared.iter().map(Vec::len).max().unwrap_or(0);
    if longest == 0 {
        return Ok(dropped);
    }
    let shape = [samplers.len() as i32, longest as i32];
    // A shorter list repeats its first token; a row that has none names one that stays as it is.
    let padded =
        |list: &Vec<u32>| (0..longest).map(|place| *list.get(place).or(list.first()).unwrap_or(&0)).collect::<Vec<_>>();
    let tokens: Vec<u32> = spared.iter().flat_map(padded).collect();
    let stays: Vec<bool> = spared.iter().flat_map(|list| vec![list.is_empty(); longest]).collect();
    filters::spare(&dropped, &Array::from_slice(&tokens, &shape), &Array::from_slice(&stays, &shape))
}

fn any(samplers: &[&mut Sampler], wants: impl Fn(&Sampling) -> bool) -> bool {
    samplers.iter().any(|sampler| wants(&sampler.sampling))
}

/// A number of each row, `[rows, 1]`.
fn column(samplers: &[&mut Sampler], of: impl Fn(&Sampling) -> f32) -> Array {
    let numbers: Vec<f32> = samplers.iter().map(|sampler| of(&sampler.sampling)).collect();
    Array::from_slice(&numbers, &[numbers.len() as i32, 1])
}

/// Whether each row does, `[rows, 1]`.
fn flags(samplers: &[&mut Sampler], wants: impl Fn(&Sampling) -> bool) -> Array {
    let flags: Vec<bool> = samplers.iter().map(|sampler| wants(&sampler.sampling)).collect();
    Array::from_slice(&flags, &[flags.len() as i32, 1])
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
