//! The two kinds of work, step by step: whatever arrived is taken between two steps, so that a cancel waits for one.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::samples::Samples;
use super::{Engine, Next};
use crate::backend::{Backend, Step};
use crate::message::{Embedding, Event, Failure, FailureKind, FinishReason, Finished, Submission};

/// When the first and the last result came.
struct Clock {
    begun: Instant,
    first: Option<Instant>,
    last: Instant,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self { begun: now, first: None, last: now }
    }

    fn tick(&mut self) {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
    }

    /// From the start to the first result, and from there to the last; of embeddings all of it is the first.
    fn times(&self) -> (Duration, Duration) {
        let first = self.first.unwrap_or(self.begun);
        (first - self.begun, self.last - first)
    }
}

impl<B: Backend, W: Write> Engine<B, W> {
    /// Tokens until one ends the sequence, there are enough, or it is cancelled: of each sample one in turn.
    pub(super) fn generate(
        &mut self,
        submission: &Submission,
        next: &mut Next,
    ) -> io::Result<Result<Finished, Failure>> {
        if submission.prompt.is_empty() || submission.max_tokens == 0 || submission.samples == 0 {
            let failure = Failure::new(FailureKind::Internal, "a submission needs a prompt and room for one token");
            return Ok(Err(failure));
        }
        let id = submission.sequence;
        let first = match self.backend.begin(submission) {
            Ok(sequence) => sequence,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut samples = Samples::new(submission, first);
        let mut clock = Clock::start();
        while samples.are_running() {
            let orders = self.orders(id, next)?;
            if orders.cancelled {
                samples.cancel();
                break;
            }
            for sample in orders.ended {
                let ended = samples.end(sample, FinishReason::Cancelled);
                self.ended(submission, ended)?;
            }
            if let Err(failure) = self.turn(submission, &mut samples, &mut clock)? {
                return Ok(Err(failure));
            }
        }
        let (prefill, decode) = clock.times();
        Ok(Ok(Finished {
            sequence: id,
            reason: samples.reason(),
            prompt_tokens: submission.prompt.len() as u32,
            completion_tokens: samples.tokens(),
            prefill_us: prefill.as_micros() as u64,
            decode_us: decode.as_micros() as u64,
            build_us: samples.built(&self.backend).as_micros() as u64,
        }))
    }

    /// The next step of the sample whose turn it is.
    fn turn(
        &mut self,
        submission: &Submission,
        samples: &mut Samples<'_, B>,
        clock: &mut Clock,
    ) -> io::Result<Result<(), Failure>> {
        if let Err(failure) = samples.fork(&mut self.backend) {
            return Ok(Err(failure));
        }
        let Some((sample, next)) = samples.next() else { return Ok(Ok(())) };
        let sequence = submission.sequence;
        match self.backend.step(next) {
            Err(failure) => return Ok(Err(failure)),
            Ok(Step::Prefill { done }) => {
                samples.prefilled(done);
                let total = submission.prompt.len() as u32;
                self.send(&Event::Prefill { sequence, done, total })?;
            }
            Ok(Step::Token(token) | Step::Last(token)) if submission.stop_tokens.contains(&token) => {
                clock.tick();
                let ended = samples.end(sample, FinishReason::Stop);
                self.ended(submission, ended)?;
            }
            Ok(step @ (Step::Token(token) | Step::Last(token))) => {
                clock.tick();
                let logprobs = match self.backend.logprobs(next) {
                    Ok(logprobs) => logprobs,
                    Err(failure) => return Ok(Err(failure)),
                };
                self.send(&Event::Token { sequence, sample, id: token, logprobs })?;
                let ended = samples.given(sample, matches!(step, Step::Last(_)));
                self.ended(submission, ended)?;
            }
        }
        Ok(Ok(()))
    }

    /// Says that one of several samples ended.
    fn ended(&mut self, submission: &Submission, ended: Option<(u32, FinishReason)>) -> io::Result<()> {
        let Some((sample, reason)) = ended.filter(|_| submission.samples > 1) else { return Ok(()) };
        self.send(&Event::Ended { sequence: submission.sequence, sample, reason })
    }

    /// One vector after the other.
    pub(super) fn embed(&mut self, embedding: &Embedding, next: &mut Next) -> io::Result<Result<Finished, Failure>> {
        let id = embedding.sequence;
        let begun = Instant::now();
        let mut prompt_tokens = 0;
        let mut reason = FinishReason::Stop;
        for input in &embedding.inputs {
            if input.is_empty() {
                return Ok(Err(Failure::new(FailureKind::Internal, "a text needs a token")));
            }
            let mut text = match self.backend.begin_text(input, embedding.pooling) {
                Ok(text) => text,
                Err(failure) => return Ok(Err(failure)),
            };
            let vector = loop {
                if self.orders(id, next)?.cancelled {
                    break None;
                }
                match self.backend.embed(&mut text) {
                    Err(failure) => return Ok(Err(failure)),
                    Ok(None) => {}
                    Ok(vector) => break vector,
                }
            };
            let Some(vector) = vector else {
                reason = FinishReason::Cancelled;
                break;
            };
            prompt_tokens += input.len() as u32;
            self.send(&Event::Vector { sequence: id, vector })?;
        }
        let prefill_us = begun.elapsed().as_micros() as u64;
        Ok(Ok(Finished {
            sequence: id,
            reason,
            prompt_tokens,
            completion_tokens: 0,
            prefill_us,
            decode_us: 0,
            build_us: 0,
        }))
    }
}
