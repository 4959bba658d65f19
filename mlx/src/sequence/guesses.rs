//! Guessed tokens of a sequence that runs alone: several positions are computed in one pass, and kept as far as the
//! guesses are what the sequence's own sampler draws.
//!
//! At each position the draw is that of a step: the same key, history, bias and grammar. While it equals the guess, the
//! next position was computed behind the right tokens, and its draw counts too; the first that differs is the last that
//! counts. What was computed and drawn behind it is taken back. So the tokens are those of single steps, but for rounding
//! where a device has other kernels for several positions.
//!
//! A pass has several tokens ready, which are given one by one, each as if a step had computed it.
//!
//! Guesses are looked up in the text, or come from a draft: see [`drafting`].

mod drafting;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use engine::backend::Step;
use engine::message::{Speculation, Submission, TokenId};
use engine::speculation::{Lookup, MOST_GUESSES, Worth};
use mlx_rs::{Array, transforms};

use super::Sequence;
use super::batch::numbers;
use super::share::Share;
use crate::array::{part, tokens};
use crate::cache::Cache;
use crate::device::Device;
use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::grammar;
use crate::models::Model;
use drafting::Drafting;

/// What a sequence guesses, and what came of it.
pub(super) struct Guesses {
    /// Never [`Speculation::Off`].
    how: Speculation,
    /// The text so far, and what of it repeats.
    lookup: Lookup,
    /// What guesses that are looked up were worth so far.
    worth: Worth,
    /// Absent without a draft.
    drafting: Option<Drafting>,
    /// Whether the draft had to compute some of the text in this step.
    is_behind: bool,
    /// Computed and not yet given; what went wrong comes last.
    ready: VecDeque<Result<Ready>>,
    /// Guesses that were given.
    given: u32,
}

/// Where guesses are taken from, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Lookup(usize),
    Draft(usize),
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
        if speculation == Speculation::Off {
            return Ok(None);
        }
        let can = caches.iter().all(Cache::can_cut);
        if !can && speculation != Speculation::Auto {
            let words = "the model has layers that keep only the last tokens and cannot take any back";
            let way_out = "leave speculation at auto, which runs without";
            return Err(Error::NotSupported(format!("tokens cannot be guessed: {words}; {way_out}")));
        }
        let (lookup, worth) = (Lookup::new(prompt), Worth::default());
        Ok(can.then(|| Self {
            how: speculation,
            lookup,
            worth,
            drafting: None,
            is_behind: false,
            ready: VecDeque::new(),
            given: 0,
        }))
    }

    /// Has a draft guess, where that is wanted of `submission`: beside a model with so many tokens.
    pub(super) fn draft(&mut self, draft: &Rc<Draft>, vocab_size: u32, submission: &Submission) -> Result<()> {
        self.drafting = match (self.how, Drafting::new(draft, vocab_size, submission.kv_bits)) {
            (Speculation::Draft, drafting) => Some(drafting?),
            (Speculation::Auto, drafting) => drafting.ok(),
            (Speculation::Off | Speculation::Lookup, _) => None,
        };
        Ok(())
    }

    /// Adds a token to the text that guesses are taken from.
    pub(super) fn took(&mut self, token: TokenId) {
        if let Some(guess) = self.lookup.guess(1).first() {
            self.worth.told(*guess == token);
        }
        self.lookup.push(token);
    }

    /// Takes the time of a step without guesses.
    pub(super) fn stepped(&mut self, time: Duration) {
        if std::mem::take(&mut self.is_behind) {
            return;
        }
        self.worth.stepped(time);
        if let Some(drafting) = &mut self.drafting {
            drafting.worth.stepped(time);
        }
    }

    /// Whether guesses are to be computed with the next step, as far as the text is known.
    pub(super) fn are_due(&self) -> bool {
        self.plan(MOST_GUESSES).is_some()
    }

    /// The guesses to be computed with the next step, `most` at most.
    fn plan(&self, most: usize) -> Option<Plan> {
        match self.best(most) {
            Some(Plan::Draft(_)) if !self.is_draft_near() => self.looked_up(most),
            plan => plan,
        }
    }

    /// The same where a draft had computed the text.
    fn best(&self, most: usize) -> Option<Plan> {
        match (self.looked_up(most), self.drafted(most)) {
            (Some(Plan::Lookup(looked_up)), Some(drafted)) if self.worth.speed(looked_up) >= drafted.1 => {
                Some(Plan::Lookup(looked_up))
            }
            (looked_up, drafted) => drafted.map(|(count, _)| Plan::Draft(count)).or(looked_up),
        }
    }

    fn looked_up(&self, most: usize) -> Option<Plan> {
        let count = match self.how {
            Speculation::Auto => self.worth.count(most),
            Speculation::Lookup => most.min(MOST_GUESSES),
            Speculation::Off | Speculation::Draft => 0,
        };
        (!self.lookup.guess(count).is_empty()).then_some(Plan::Lookup(count))
    }

    /// How many guesses of the draft are wanted, and their speed.
    fn drafted(&self, most: usize) -> Option<(usize, f64)> {
        let drafting = self.drafting.as_ref()?;
        let most = drafting.fitting(self.lookup.tokens(), most);
        let count = match self.how {
            Speculation::Auto => drafting.worth.count(most),
            Speculation::Draft => drafting.worth.likely(most),
            Speculation::Off | Speculation::Lookup => 0,
        };
        (count > 0).then(|| (count, drafting.worth.speed(count)))
    }

    fn is_draft_near(&self) -> bool {
        self.drafting.as_ref().is_some_and(|drafting| drafting.is_near(self.lookup.tokens()))
    }

    /// Has the draft compute a chunk of the text, where its guesses are wanted and it is behind.
    fn catch_up(&mut self, most: usize, device: &Device) -> Result<()> {
        self.is_behind = false;
        if !matches!(self.best(most), Some(Plan::Draft(_))) || self.is_draft_near() {
            return Ok(());
        }
        let (Some(drafting), text) = (&mut self.drafting, self.lookup.tokens()) else { return Ok(()) };
        if self.how == Speculation::Draft || drafting.repays(text, most) {
            drafting.catch_up(text, device)?;
            self.is_behind = true;
        }
        Ok(())
    }

    /// The guesses of a plan.
    fn guess(&mut self, plan: Plan) -> Result<Vec<TokenId>> {
        match (plan, &mut self.drafting) {
            (Plan::Lookup(count), _) => Ok(self.lookup.guess(count)),
            (Plan::Draft(count), Some(drafting)) => drafting.guess(self.lookup.tokens(), count),
            (Plan::Draft(_), None) => Ok(Vec::new()),
        }
    }

    /// Takes what came of a plan.
    fn learn(&mut self, plan: Plan, time: Duration) {
        let right = self.ready.iter().flatten().filter(|ready| ready.is_guess).count();
        let is_wrong = self.ready.iter().flatten().any(|ready| !ready.is_guess);
        match (plan, &mut self.drafting) {
            (Plan::Lookup(count), _) => self.worth.guessed(count, time),
            (Plan::Draft(count), Some(drafting)) => {
                for _ in 0..right {
                    drafting.worth.told(true);
                }
                if is_wrong && right < count {
                    drafting.worth.told(false);
                }
                drafting.worth.guessed(count, time);
            }
            (Plan::Draft(_), None) => {}
        }
    }

    /// Takes back what the draft has computed beyond the text, whose last token is left to the next guesses.
    fn cut_draft(&mut self) -> Result<()> {
        let len = self.lookup.tokens().len().saturating_sub(1);
        self.drafting.as_mut().map_or(Ok(()), |drafting| drafting.cut(len))
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
    if sequence.broken.is_some() {
        return None;
    }
    let begun = Instant::now();
    let held = sequence.caches.first().map_or(0, Cache::len);
    let room = (model.facts().context as usize).saturating_sub(held as usize + 1);
    let most = room.min(sequence.wanted.saturating_sub(sequence.given + 1) as usize);
    let (plan, guesses) = match guesses(sequence, most, device) {
        Ok(guesses) => guesses?,
        Err(error) => return Some(Err(broken(sequence, error))),
    };
    let last = sequence.guesses.as_ref()?.lookup.last()?;
    let passed = pass(sequence, last, &guesses, model, device);
    let all = sequence.guesses.as_mut()?;
    match passed.and_then(|is_sound| all.cut_draft().map(|()| is_sound)) {
        Err(error) => return Some(Err(broken(sequence, error))),
        // A plain step tells what is wrong.
        Ok(false) => return None,
        Ok(true) => all.learn(plan, begun.elapsed()),
    }
    ready(sequence)
}

/// What is to be computed with the next step. A draft that fails guesses no more, and that is all where nobody asked for it.
fn guesses(sequence: &mut Sequence, most: usize, device: &Device) -> Result<Option<(Plan, Vec<TokenId>)>> {
    let is_ahead = sequence.ahead.is_some();
    let Some(all) = &mut sequence.guesses else { return Ok(None) };
    // What it computes needs nothing of a step that was started ahead.
    let found =
        all.catch_up(most, device).and_then(|()| match all.plan(most).filter(|_| !is_ahead && !all.is_behind) {
            Some(plan) => all.guess(plan).map(|guesses| Some((plan, guesses))),
            None => Ok(None),
        });
    if found.is_err() && all.how == Speculation::Auto {
        all.drafting = None;
        return Ok(None);
    }
    found
}

/// That a sequence must not go on.
fn broken(sequence: &mut Sequence, error: Error) -> Error {
    sequence.broken = Some(error.to_string());
    error
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
    let mut ids = [&[last], guesses].concat();
    // More positions that nobody asks for, where the device is faster with them. They are cut off with wrong guesses.
    ids.resize(ids.len().max(device.least_rows()), last);
    let all = ids.len() as i32;
    let hidden = model.hidden(&tokens(&ids).reshape(&[1, all])?, &mut sequence.caches)?;
    let logits = part(&model.logits(&hidden)?.reshape(&[all, -1])?, 0, count)?;
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
