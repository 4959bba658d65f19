//! Guessed tokens of a sequence that runs alone: several positions are computed in one pass, and kept as far as the
//! guesses are what the sequence's own sampler draws.
//!
//! At each position the draw is that of a step: the same key, history, bias and grammar. While it equals the guess, the
//! next position was computed behind the right tokens, and its draw counts too; the first that differs is the last that
//! counts. What was computed and drawn behind it is taken back. So the tokens are those of single steps, but for rounding
//! where a device has other kernels for several positions.
//!
//! A pass has several tokens ready, which are given one by one, each as if a step had computed it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use engine::backend::Step;
use engine::message::{Speculation, TokenId};
use engine::speculation::{Lookup, MOST_GUESSES, Worth};
use mlx_rs::{Array, transforms};

use super::Sequence;
use super::batch::numbers;
use super::share::Share;
use crate::array::{part, tokens};
use crate::cache::Cache;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::grammar;
use crate::models::Model;

/// What a sequence guesses, and what came of it.
pub(super) struct Guesses {
    lookup: Lookup,
    /// Absent where guesses are wanted whether they pay or not.
    worth: Option<Worth>,
    /// Computed and not yet given; what went wrong comes last.
    ready: VecDeque<Result<Ready>>,
    /// Guesses that were given.
    given: u32,
}

/// A token that was computed.
struct Ready {
    id: TokenId,
    /// Whether the sequence's grammar allows none behind it.
    is_whole: bool,
    is_guess: bool,
    /// What it was chosen from, where that is asked for.
    logits: Option<Share>,
}

impl Guesses {
    /// Those of a sequence with such caches; `None` for none. Not supported where they are asked for by name and a layer
    /// cannot take back what it was given.
    pub(super) fn of(speculation: Speculation, prompt: &[TokenId], caches: &[Cache]) -> Result<Option<Self>> {
        let worth = match speculation {
            Speculation::Off => return Ok(None),
            Speculation::Auto => Some(Worth::default()),
            Speculation::Lookup => None,
        };
        let can = caches.iter().all(Cache::can_cut);
        if !can && worth.is_none() {
            let words = "the model has layers that keep only the last tokens and cannot take any back";
            let way_out = "leave speculation at auto, which runs without";
            return Err(Error::NotSupported(format!("tokens cannot be guessed: {words}; {way_out}")));
        }
        Ok(can.then(|| Self { lookup: Lookup::new(prompt), worth, ready: VecDeque::new(), given: 0 }))
    }

    /// Adds a token to the text that guesses are taken from.
    pub(super) fn took(&mut self, token: TokenId) {
        if let (Some(worth), Some(guess)) = (&mut self.worth, self.lookup.guess(1).first()) {
            worth.told(*guess == token);
        }
        self.lookup.push(token);
    }

    /// Takes the time of a step without guesses.
    pub(super) fn stepped(&mut self, time: Duration) {
        if let Some(worth) = &mut self.worth {
            worth.stepped(time);
        }
    }

    /// The guesses to be computed with the next step, `most` at most.
    pub(super) fn next(&self, most: usize) -> Vec<TokenId> {
        let count = self.worth.as_ref().map_or(most.min(MOST_GUESSES), |worth| worth.count(most));
        self.lookup.guess(count)
    }

    /// Whether there are any, as far as the text is known.
    pub(super) fn are_due(&self) -> bool {
        !self.next(MOST_GUESSES).is_empty()
    }

    /// Tokens given that were guessed.
    pub(super) fn given(&self) -> u32 {
        self.given
    }
}

/// The next token, where it is computed already.
pub(super) fn ready(sequence: &mut Sequence) -> Option<Result<Step>> {
    let ready = sequence.guesses.as_mut()?.ready.pop_front()?;
    Some(ready.and_then(|ready| give(sequence, ready)))
}

/// The next token, where guesses are due; others may be ready then. To be called of a sequence that runs alone.
pub(super) fn step(sequence: &mut Sequence, model: &dyn Model, device: &Device) -> Option<Result<Step>> {
    if sequence.ahead.is_some() || sequence.broken.is_some() {
        return None;
    }
    let begun = Instant::now();
    let held = sequence.caches.first().map_or(0, Cache::len);
    let room = (model.facts().context as usize).saturating_sub(held as usize + 1);
    let wanted = sequence.wanted.saturating_sub(sequence.given + 1) as usize;
    let all = sequence.guesses.as_ref()?;
    let (guesses, last) = (all.next(wanted.min(room)), all.lookup.last()?);
    if guesses.is_empty() {
        return None;
    }
    match pass(sequence, last, &guesses, model, device) {
        Err(error) => {
            sequence.broken = Some(error.to_string());
            return Some(Err(error));
        }
        // A plain step tells what is wrong.
        Ok(false) => return None,
        Ok(true) => {}
    }
    if let Some(Guesses { worth: Some(worth), .. }) = &mut sequence.guesses {
        worth.guessed(guesses.len(), begun.elapsed());
    }
    ready(sequence)
}

fn give(sequence: &mut Sequence, Ready { id, is_whole, is_guess, logits }: Ready) -> Result<Step> {
    sequence.recorder.given(id, &sequence.caches)?;
    sequence.chosen = logits.map(|logits| (id, logits));
    sequence.given += 1;
    if let Some(guesses) = &mut sequence.guesses {
        guesses.given += u32::from(is_guess);
    }
    Ok(if is_whole { Step::Last(id) } else { Step::Token(id) })
}

/// Computes what comes after `last` and after each of `guesses`, has the tokens ready that count, and cuts off the rest.
/// False where that is all: a NaN at one position reaches those before it in the same pass.
fn pass(
    sequence: &mut Sequence,
    last: TokenId,
    guesses: &[TokenId],
    model: &dyn Model,
    device: &Device,
) -> Result<bool> {
    let begun = Instant::now();
    let held = sequence.caches.first().map_or(0, Cache::len);
    let count = 1 + guesses.len() as i32;
    let ids = tokens(&[&[last], guesses].concat()).reshape(&[1, count])?;
    let logits = model.logits(&model.hidden(&ids, &mut sequence.caches)?)?.reshape(&[count, -1])?;
    let nan = logits.is_nan()?.any(false)?;
    sequence.built += begun.elapsed();
    let ready = draw(sequence, guesses, &logits, &nan)?;
    device.stepped()?;
    let count = ready.iter().flatten().count();
    for cache in &mut sequence.caches {
        cache.cut(held + count as i32)?;
        if ready.is_empty() {
            cache.wipe()?;
        }
    }
    let is_sound = !ready.is_empty();
    if let Some(Ready { id, .. }) = ready.iter().flatten().last() {
        sequence.input = Share::whole(tokens(&[*id]));
    }
    if let Some(guesses) = &mut sequence.guesses {
        for ready in ready.iter().flatten() {
            guesses.took(ready.id);
        }
        guesses.ready = ready;
    }
    Ok(is_sound)
}

/// The tokens that count of those after each row of `logits`; none where any is NaN. Without a grammar all are drawn at
/// once; with one, which tokens may come is known when the one before has come.
fn draw(sequence: &mut Sequence, guesses: &[TokenId], logits: &Array, nan: &Array) -> Result<VecDeque<Result<Ready>>> {
    let before = sequence.sampler.mark();
    let mut shares = Share::each(logits.clone());
    let at_once = if sequence.constraint.is_some() { 1 } else { guesses.len() + 1 };
    let mut ready = VecDeque::new();
    for start in (0..=guesses.len()).step_by(at_once) {
        let rows = part(logits, start as i32, (start + at_once) as i32)?;
        let rows = match allowed(sequence, &rows) {
            Ok(rows) => rows,
            Err(error) => {
                ready.push_back(Err(error));
                break;
            }
        };
        let (drawn, marks) = sequence.sampler.along(&rows)?;
        transforms::eval([&drawn, nan])?;
        if numbers(nan)?.contains(&true) {
            sequence.sampler.back_to(before);
            break;
        }
        for ((place, id), mark) in (start..).zip(numbers::<TokenId>(&drawn)?).zip(marks) {
            let is_guess = guesses.get(place) == Some(&id);
            let logits = shares.next().filter(|_| sequence.logprobs.is_some());
            let is_whole = accept(sequence, id);
            let goes_on = is_guess && matches!(is_whole, Ok(false));
            ready.push_back(is_whole.map(|is_whole| Ready { id, is_whole, is_guess, logits }));
            if !goes_on {
                sequence.sampler.back_to(mark);
                return Ok(ready);
            }
        }
    }
    Ok(ready)
}

/// The logits with −∞ for what the sequence's grammar does not allow.
fn allowed(sequence: &mut Sequence, logits: &Array) -> Result<Array> {
    match &mut sequence.constraint {
        Some(constraint) => Ok(grammar::mask(logits, &constraint.allowed(logits.shape()[1] as u32)?)?),
        None => Ok(logits.clone()),
    }
}

/// Takes a token, and tells whether the sequence's grammar allows none behind it.
fn accept(sequence: &mut Sequence, id: TokenId) -> Result<bool> {
    match &mut sequence.constraint {
        Some(constraint) => Ok(constraint.accept(id)?),
        None => Ok(false),
    }
}

#[cfg(test)]
#[path = "guesses_tests.rs"]
mod tests;
