//! The samples of one prompt: how far each is, and how it ended.
//!
//! The first computes the prompt; the others are forked from it when that is done.

use std::time::Duration;

use crate::backend::Backend;
use crate::message::{Failure, FinishReason, Submission};

/// The samples of one submission.
pub(super) struct Samples<S> {
    /// In the order of their numbers; only the first until the prompt is computed.
    all: Vec<Sample<S>>,
}

struct Sample<S> {
    /// Given up when it ends.
    sequence: Option<S>,
    tokens: u32,
    /// `None` while it runs.
    ended: Option<FinishReason>,
    /// What its sequence told at its end.
    built: Duration,
    speculated: u32,
}

impl<S> Sample<S> {
    fn new(sequence: S) -> Self {
        Self { sequence: Some(sequence), tokens: 0, ended: None, built: Duration::ZERO, speculated: 0 }
    }
}

impl<S> Samples<S> {
    /// The first, of which nothing is computed.
    pub(super) fn new(first: S) -> Self {
        Self { all: vec![Sample::new(first)] }
    }

    /// Whether one of them has not ended.
    pub(super) fn are_running(&self) -> bool {
        self.all.iter().any(|sample| sample.ended.is_none())
    }

    /// Makes the others, once the prompt is computed but for what the first token needs.
    pub(super) fn fork<B>(&mut self, submission: &Submission, backend: &mut B) -> Result<(), Failure>
    where
        B: Backend<Sequence = S>,
    {
        let Some(first) = self.all[0].sequence.as_ref().filter(|_| self.all.len() == 1) else { return Ok(()) };
        let mut others = Vec::new();
        for sample in 1..submission.samples {
            let mut submission = submission.clone();
            submission.sampling.seed = submission.sampling.seed.wrapping_add(u64::from(sample));
            others.push(Sample::new(backend.fork(first, &submission)?));
        }
        self.all.extend(others);
        Ok(())
    }

    /// The first, while it computes the prompt.
    pub(super) fn first(&mut self) -> Option<&mut S> {
        self.all[0].sequence.as_mut()
    }

    /// Those that run, with their numbers.
    pub(super) fn running(&mut self) -> impl Iterator<Item = (u32, &mut S)> {
        self.all.iter_mut().enumerate().filter_map(|(number, sample)| Some((number as u32, sample.sequence.as_mut()?)))
    }

    /// One that runs.
    pub(super) fn get(&mut self, number: u32) -> Option<&mut S> {
        self.all.get_mut(number as usize)?.sequence.as_mut()
    }

    /// Counts a token of a sample; answers how many it has now.
    pub(super) fn count(&mut self, number: u32) -> u32 {
        let sample = &mut self.all[number as usize];
        sample.tokens += 1;
        sample.tokens
    }

    /// Ends a sample and gives its memory back; false if it has ended or never was.
    pub(super) fn end<B: Backend<Sequence = S>>(&mut self, number: u32, reason: FinishReason, backend: &B) -> bool {
        let Some(sample) = self.all.get_mut(number as usize).filter(|sample| sample.ended.is_none()) else {
            return false;
        };
        sample.ended = Some(reason);
        if let Some(sequence) = sample.sequence.take() {
            (sample.built, sample.speculated) = (backend.built(&sequence), backend.speculated(&sequence));
        }
        true
    }

    /// Ends all that run.
    pub(super) fn cancel<B: Backend<Sequence = S>>(&mut self, backend: &B) {
        for number in 0..self.all.len() as u32 {
            self.end(number, FinishReason::Cancelled, backend);
        }
    }

    /// Why the first ended.
    pub(super) fn reason(&self) -> FinishReason {
        self.all[0].ended.unwrap_or(FinishReason::Cancelled)
    }

    /// Tokens of all together.
    pub(super) fn tokens(&self) -> u32 {
        self.all.iter().map(|sample| sample.tokens).sum()
    }

    /// Of those that ended, tokens that had been guessed.
    pub(super) fn speculated(&self) -> u32 {
        self.all.iter().map(|sample| sample.speculated).sum()
    }

    /// Time that the steps of those that ended took to be described to the device.
    pub(super) fn built(&self) -> Duration {
        self.all.iter().map(|sample| sample.built).sum()
    }
}
