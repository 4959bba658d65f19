//! The samples of one prompt: which of them take the next step, and how each ended.
//!
//! The first computes the prompt; the others are forked from it when that is done, and all take their steps in turns.

use std::time::Duration;

use crate::backend::Backend;
use crate::message::{Failure, FinishReason, Submission};

/// The samples of one submission.
pub(super) struct Samples<'a, B: Backend> {
    submission: &'a Submission,
    /// In the order of their numbers; only the first until the prompt is computed.
    all: Vec<Sample<B::Sequence>>,
    /// Tokens of the prompt that are computed.
    done: u32,
    /// The place of the one whose turn is next.
    turn: usize,
}

struct Sample<S> {
    sequence: S,
    tokens: u32,
    /// `None` while it runs.
    ended: Option<FinishReason>,
}

impl<S> Sample<S> {
    fn new(sequence: S) -> Self {
        Self { sequence, tokens: 0, ended: None }
    }
}

impl<'a, B: Backend> Samples<'a, B> {
    /// The first, of which nothing is computed.
    pub(super) fn new(submission: &'a Submission, first: B::Sequence) -> Self {
        Self { submission, all: vec![Sample::new(first)], done: 0, turn: 0 }
    }

    /// Whether one of them has not ended.
    pub(super) fn are_running(&self) -> bool {
        self.all.iter().any(|sample| sample.ended.is_none())
    }

    /// Takes note of how much of the prompt is computed.
    pub(super) fn prefilled(&mut self, done: u32) {
        self.done = done;
    }

    /// Makes the others, once the prompt is computed but for what the first token needs.
    pub(super) fn fork(&mut self, backend: &mut B) -> Result<(), Failure> {
        let Submission { samples, prompt, sampling, .. } = self.submission;
        if self.all.len() as u32 == *samples || self.done as usize + 1 < prompt.len() {
            return Ok(());
        }
        for sample in 1..*samples {
            let mut submission = self.submission.clone();
            submission.sampling.seed = sampling.seed.wrapping_add(u64::from(sample));
            let forked = backend.fork(&self.all[0].sequence, &submission)?;
            self.all.push(Sample::new(forked));
        }
        self.turn = 0;
        Ok(())
    }

    /// The one whose turn it is, with its number.
    pub(super) fn next(&mut self) -> Option<(u32, &mut B::Sequence)> {
        let count = self.all.len();
        let place = (self.turn..self.turn + count).map(|turn| turn % count).find(|it| self.all[*it].ended.is_none())?;
        self.turn = place + 1;
        Some((place as u32, &mut self.all[place].sequence))
    }

    /// Counts a token; the number of the sample with the reason if that was its last.
    pub(super) fn given(&mut self, number: u32, is_whole: bool) -> Option<(u32, FinishReason)> {
        let sample = &mut self.all[number as usize];
        sample.tokens += 1;
        if is_whole {
            self.end(number, FinishReason::Stop)
        } else if sample.tokens == self.submission.max_tokens {
            self.end(number, FinishReason::Length)
        } else {
            None
        }
    }

    /// Ends a sample; nothing if it has ended or never was.
    pub(super) fn end(&mut self, number: u32, reason: FinishReason) -> Option<(u32, FinishReason)> {
        let sample = self.all.get_mut(number as usize).filter(|sample| sample.ended.is_none())?;
        sample.ended = Some(reason);
        Some((number, reason))
    }

    /// Ends all that run.
    pub(super) fn cancel(&mut self) {
        for sample in &mut self.all {
            sample.ended.get_or_insert(FinishReason::Cancelled);
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

    /// Time that the steps of all took to be described to the device.
    pub(super) fn built(&self, backend: &B) -> Duration {
        self.all.iter().map(|sample| backend.built(&sample.sequence)).sum()
    }
}
