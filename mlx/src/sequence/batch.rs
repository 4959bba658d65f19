//! A step of several sequences: one pass of the model for all, one draw, one read. Each keeps its own caches, so that
//! it may join, leave, wait or fail at any step.
//!
//! Where the device computes ahead, the step after is started before the tokens of this one are read, but for the first of a
//! sequence alone, which somebody waits for. Its arrays are used as they are while the same sequences go on in the same
//! order; else rows are gathered, and a row that nobody asks for is computed in vain.

use std::time::Instant;

use engine::backend::{Pace, Step};
use engine::message::TokenId;
use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, ArrayElement, transforms};

use super::guesses::Guesses;
use super::seating::Seating;
use super::share::{Share, together};
use super::{Sequence, Started, guesses};
use crate::cache;
use crate::device::{Device, Sharing};
use crate::error::{Error, Result};
use crate::grammar;
use crate::models::Model;
use crate::sampler::batch as sampler;

/// The next token of each sequence, in their order. What goes wrong with one is its own; where MLX refuses an
/// operation, all that it was for fail.
///
/// The logits of a row depend on its neighbours only by rounding, where a product of several rows has another kernel
/// than one of a single row. On a processor none has, but that packed matrices are unpacked from some rows on
/// ([`crate::device::WeightPolicy`]): eight rows and more then have logits that differ by up to 1e-5 on a tiny model
/// whose logits span 20, and fewer have the same to the last bit. GPUs have kernels for one row, for few and for many,
/// which are not measured. Where two logits are nearer to each other than that, the likeliest token may be either.
pub fn decode(rows: &mut [&mut Sequence], model: &dyn Model, device: &Device) -> Vec<Result<Step>> {
    let (alone, begun) = (rows.len() == 1, Instant::now());
    if let [row] = rows
        && let Err(error) = cache::leave(&mut row.caches)
    {
        return vec![Err(error.into())];
    }
    let mut turn = Turn { rows: Vec::new(), ends: Vec::new() };
    for (place, sequence) in rows.iter_mut().enumerate() {
        let end = if sequence.is_prompt_done() {
            let next = guesses::ready(sequence);
            if alone { next.or_else(|| guesses::step(sequence, model, device)) } else { next }
        } else {
            Some(sequence.step(model, device, Pace::Shared))
        };
        if end.is_none() {
            turn.rows.push(Row { place, sequence, nan: None, logits: None, read: None });
        }
        turn.ends.push(end);
    }
    turn.sift(|row| row.sequence.may_go_on(model));
    // As they sit, so that what was computed for all is used as it is.
    turn.rows.sort_by_key(|row| row.sequence.slot().unwrap_or(usize::MAX));
    // New ones among others are with them from the next step on.
    let sharing = device.sharing.filter(|_| turn.rows.iter().all(|row| row.sequence.ahead.is_none()));
    turn.with(|sequence| sequence.ahead.is_none(), |rows| start(rows, model, sharing));
    turn.choose(model);
    if device.pipelines {
        // Behind guesses the next input is not known.
        let guesses = |sequence: &Sequence| alone && sequence.guesses.as_ref().is_some_and(Guesses::are_due);
        // Somebody waits for the first token: describing the next step to the device would take longer than to compute it.
        let is_first = |sequence: &Sequence| alone && sequence.given == 1;
        let goes_on = |sequence: &Sequence| sequence.given < sequence.wanted && sequence.room(model);
        turn.with(
            |sequence| goes_on(sequence) && !is_first(sequence) && !guesses(sequence),
            |rows| start(rows, model, device.sharing),
        );
    }
    turn.with(|_| true, |_| device.stepped());
    turn.with(|_| true, read);
    for guesses in turn.rows.iter_mut().filter(|_| alone).filter_map(|row| row.sequence.guesses.as_mut()) {
        guesses.stepped(begun.elapsed());
    }
    turn.end()
}

/// Sequences on their way through a step.
struct Turn<'a> {
    /// Those that have not failed.
    rows: Vec<Row<'a>>,
    /// What became of each, by its place.
    ends: Vec<Option<Result<Step>>>,
}

struct Row<'a> {
    place: usize,
    sequence: &'a mut Sequence,
    nan: Option<Share>,
    logits: Option<Share>,
    /// The token, and whether a logit is NaN.
    read: Option<(TokenId, bool)>,
}

impl<'a> Turn<'a> {
    /// Ends the rows of which `check` finds something wrong.
    fn sift(&mut self, mut check: impl FnMut(&mut Row<'a>) -> Result<()>) {
        let ends = &mut self.ends;
        self.rows.retain_mut(|row| match check(row) {
            Ok(()) => true,
            Err(error) => {
                ends[row.place] = Some(Err(error));
                false
            }
        });
    }

    /// Does something with all rows that `wants` picks, which fail together.
    fn with(&mut self, wants: impl Fn(&Sequence) -> bool, work: impl FnOnce(&mut [&mut Row<'a>]) -> Result<()>) {
        let mut rows: Vec<&mut Row<'a>> = self.rows.iter_mut().filter(|row| wants(row.sequence)).collect();
        if rows.is_empty() {
            return;
        }
        let Err(error) = work(&mut rows) else { return };
        let words = match rows.len() {
            1 => error.to_string(),
            count => format!("{error}; it was for {count} sequences, and all of them fail"),
        };
        for row in rows {
            row.sequence.broken = Some(words.clone());
        }
        self.sift(|row| row.sequence.sound());
    }

    /// Takes what was started, and has the tokens chosen that a grammar has a say in.
    fn choose(&mut self, model: &dyn Model) {
        let mut allowed = Vec::new();
        self.sift(|row| {
            if let Some(constraint) = &mut row.sequence.constraint {
                allowed.extend(constraint.allowed(model.facts().vocab_size)?);
            }
            Ok(())
        });
        self.with(|sequence| sequence.constraint.is_some(), |rows| Ok(draw(rows, Some(&allowed)).map(drop)?));
        self.with(|_| true, take);
    }

    /// What became of all.
    fn end(mut self) -> Vec<Result<Step>> {
        for row in self.rows {
            let place = row.place;
            self.ends[place] = Some(row.end());
        }
        self.ends.into_iter().flatten().collect()
    }
}

impl Row<'_> {
    /// What was started of the next token: itself, or its logits.
    fn next(&self) -> Option<&Share> {
        self.sequence.ahead.as_ref().map(|started| &started.next)
    }

    /// What was read, in words of the boundary.
    fn end(self) -> Result<Step> {
        let Self { sequence, logits, read, .. } = self;
        let (id, nan) = read.ok_or_else(|| Error::Internal("no token was read".into()))?;
        if nan {
            sequence.ahead = None;
            sequence.recorder.disown();
            return Err(Error::nan());
        }
        sequence.recorder.given(id, &sequence.caches)?;
        if let Some(guesses) = &mut sequence.guesses {
            guesses.took(id);
        }
        sequence.chosen = logits.map(|logits| (id, logits));
        let is_whole = match &mut sequence.constraint {
            Some(constraint) => constraint.accept(id)?,
            None => false,
        };
        Ok(if is_whole { Step::Last(id) } else { Step::Token(id) })
    }
}

/// Builds the step after the input of each row and has it computed, without waiting.
fn start(rows: &mut [&mut Row<'_>], model: &dyn Model, sharing: Option<Sharing>) -> Result<()> {
    let begun = Instant::now();
    let mut sequences: Vec<&mut Sequence> = rows.iter_mut().map(|row| &mut *row.sequence).collect();
    let seating = Seating::of(&mut sequences, sharing)?;
    let logits = model.logits(&seating.hidden(&mut sequences, model)?)?.reshape(&[seating.rows() as i32, -1])?;
    started(rows, logits, |array| seating.shares(array), begun)
}

/// Has what comes after the prompt of a sequence computed, without waiting, as if a step had been started: `hidden` is the
/// last vector after its last token, `[1, 1, hidden]`.
pub(super) fn start_behind(sequence: &mut Sequence, hidden: &Array, model: &dyn Model) -> Result<()> {
    let begun = Instant::now();
    let logits = model.logits(hidden)?.reshape(&[1, -1])?;
    let mut row = Row { place: 0, sequence, nan: None, logits: None, read: None };
    started(&mut [&mut row], logits, |array| Share::each(array).collect(), begun)
}

/// Has the next token of each row computed from the logits of a step, whose graph has been built since `begun`; `shares` are
/// those of the rows.
fn started(
    rows: &mut [&mut Row<'_>],
    logits: Array,
    shares: impl Fn(Array) -> Vec<Share>,
    begun: Instant,
) -> Result<()> {
    let count = rows.len();
    let nan = logits.is_nan()?;
    let nan = if logits.shape()[0] == 1 { nan.any(false)? } else { nan.any_axis(-1, false)? };
    let mut wanted = vec![nan.clone()];
    for (row, (next, nan)) in rows.iter_mut().zip(shares(logits.clone()).into_iter().zip(shares(nan))) {
        let logits = row.sequence.logprobs.is_some().then(|| next.clone());
        row.sequence.ahead = Some(Started { next, nan, logits });
    }
    let mut free: Vec<_> =
        rows.iter_mut().filter(|row| row.sequence.constraint.is_none()).map(|row| &mut **row).collect();
    if free.len() < count {
        wanted.push(logits);
    }
    if !free.is_empty() {
        wanted.push(draw(&mut free, None)?);
    }
    let share = begun.elapsed() / count as u32;
    for row in rows.iter_mut() {
        row.sequence.built += share;
    }
    transforms::async_eval(&wanted)?;
    Ok(())
}

/// Has each row's sampler choose from its logits, of which only those that `allowed` says may come, where it says so.
fn draw(rows: &mut [&mut Row<'_>], allowed: Option<&[bool]>) -> MlxResult<Array> {
    let mut logits = together(rows.iter().filter_map(|row| row.next()))?;
    if let Some(allowed) = allowed {
        logits = grammar::mask(&logits, allowed)?;
    }
    let mut samplers: Vec<_> = rows.iter_mut().map(|row| &mut row.sequence.sampler).collect();
    let tokens = sampler::next(&mut samplers, &logits)?;
    for (row, share) in rows.iter_mut().zip(Share::each(tokens.clone())) {
        if let Some(ahead) = &mut row.sequence.ahead {
            ahead.next = share;
        }
    }
    Ok(tokens)
}

/// Makes the token that was started the next input.
fn take(rows: &mut [&mut Row<'_>]) -> Result<()> {
    let tokens = together(rows.iter().filter_map(|row| row.next()))?;
    for (row, input) in rows.iter_mut().zip(Share::each(tokens)) {
        let started = row.sequence.ahead.take();
        let Started { nan, logits, .. } = started.ok_or_else(|| Error::Internal("no step was started".into()))?;
        (row.nan, row.logits) = (Some(nan), logits);
        row.sequence.input = input;
        row.sequence.given += 1;
    }
    Ok(())
}

/// Waits for the tokens: all of them are read at once.
fn read(rows: &mut [&mut Row<'_>]) -> Result<()> {
    let tokens = numbers::<TokenId>(&together(rows.iter().map(|row| &row.sequence.input))?)?;
    let nan = numbers::<bool>(&together(rows.iter().filter_map(|row| row.nan.as_ref()))?)?;
    for (row, read) in rows.iter_mut().zip(tokens.into_iter().zip(nan)) {
        row.read = Some(read);
    }
    Ok(())
}

/// What is computed, read back.
pub(super) fn numbers<T: ArrayElement + Clone>(array: &Array) -> Result<Vec<T>> {
    array.to_vec_exact().map_err(|error| Error::Internal(error.to_string()))
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
