//! One piece of work that was begun and has not ended: how far it is, and what is to be told of it at its end.

use std::time::{Duration, Instant};

use super::choice::Need;
use super::samples::Samples;
use crate::backend::{Backend, Pace, Step};
use crate::message::{
    Embedding, Event, Failure, FailureKind, FinishReason, Finished, Priority, SequenceId, Submission, TokenId, Work,
};

/// One piece of work.
pub(super) struct Task<B: Backend> {
    pub sequence: SequenceId,
    pub priority: Priority,
    pub paused: bool,
    pub clock: Clock,
    pub kind: Kind<B>,
}

/// What is asked for.
pub(super) enum Kind<B: Backend> {
    Generate(Box<Generation<B>>),
    Embed(Box<Texts<B>>),
}

/// Tokens after a prompt.
pub(super) struct Generation<B: Backend> {
    pub submission: Submission,
    pub samples: Samples<B::Sequence>,
    /// Prompt tokens that were kept from earlier work, and those that are computed.
    pub cached: u32,
    pub done: u32,
}

/// Vectors of texts.
pub(super) struct Texts<B: Backend> {
    pub embedding: Embedding,
    /// The text whose turn it is, and its number.
    pub text: B::Text,
    pub number: usize,
    /// Tokens of those that are done.
    pub done: u32,
}

/// When the first and the last result came.
pub(super) struct Clock {
    begun: Instant,
    first: Option<Instant>,
    last: Instant,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self { begun: now, first: None, last: now }
    }

    pub(super) fn tick(&mut self) {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
    }

    /// From the start to the first result, and from there to the last.
    fn times(&self) -> (Duration, Duration) {
        let first = self.first.unwrap_or(self.begun);
        (first - self.begun, self.last - first)
    }
}

impl<B: Backend> Task<B> {
    /// Prepares it; nothing is computed.
    pub(super) fn begin(work: Work, priority: Priority, backend: &mut B) -> Result<Self, Failure> {
        let sequence = work.sequence();
        let kind = match work {
            Work::Generate(submission) => Kind::Generate(Box::new(Generation::begin(submission, backend)?)),
            Work::Embed(embedding) => Kind::Embed(Box::new(Texts::begin(embedding, backend)?)),
        };
        Ok(Self { sequence, priority, paused: false, clock: Clock::start(), kind })
    }

    /// What it wants next.
    pub(super) fn need(&self) -> Need {
        match &self.kind {
            _ if self.paused => Need::Nothing,
            _ if self.is_done() => Need::Nothing,
            Kind::Generate(generation) => match generation.prompt_left() {
                0 => Need::Tokens,
                left => Need::Piece(left),
            },
            Kind::Embed(texts) => Need::Piece(texts.tokens()),
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_done(&self) -> bool {
        match &self.kind {
            Kind::Generate(generation) => !generation.samples.are_running(),
            Kind::Embed(texts) => texts.number == texts.embedding.inputs.len(),
        }
    }

    /// What is told at the end; `cancelled` where it was not its own.
    pub(super) fn finished(mut self, backend: &B, cancelled: bool) -> Finished {
        let (prefill, decode) = self.clock.times();
        let whole = Finished::before_its_start(self.sequence, 0);
        match &mut self.kind {
            Kind::Generate(generation) => {
                if cancelled {
                    generation.samples.cancel(backend);
                }
                Finished {
                    reason: generation.samples.reason(),
                    prompt_tokens: generation.submission.prompt.len() as u32,
                    cached_tokens: generation.cached,
                    completion_tokens: generation.samples.tokens(),
                    speculated_tokens: generation.samples.speculated(),
                    prefill_us: prefill.as_micros() as u64,
                    decode_us: decode.as_micros() as u64,
                    build_us: generation.samples.built().as_micros() as u64,
                    ..whole
                }
            }
            Kind::Embed(texts) => Finished {
                reason: if cancelled { FinishReason::Cancelled } else { FinishReason::Stop },
                prompt_tokens: texts.done,
                // There is one result for each text, and so no time after the first.
                prefill_us: (prefill + decode).as_micros() as u64,
                ..whole
            },
        }
    }
}

impl<B: Backend> Generation<B> {
    fn begin(submission: Submission, backend: &mut B) -> Result<Self, Failure> {
        if submission.prompt.is_empty() || submission.max_tokens == 0 || submission.samples == 0 {
            return Err(Failure::new(FailureKind::Internal, "a submission needs a prompt and room for one token"));
        }
        let first = backend.begin(&submission)?;
        let cached = backend.computed(&first);
        Ok(Self { submission, samples: Samples::new(first), cached, done: cached })
    }

    /// What is not computed of the prompt but for its last token, whose step gives the first of the answer.
    fn prompt_left(&self) -> u32 {
        (self.submission.prompt.len() as u32 - 1).saturating_sub(self.done)
    }

    /// Computes a piece of the prompt; what is to be told of it.
    pub(super) fn piece(&mut self, pace: Pace, backend: &mut B) -> Result<Event, Failure> {
        let internal = |words| Failure::new(FailureKind::Internal, words);
        let first = self.samples.first().ok_or_else(|| internal("a prompt goes on that nobody waits for"))?;
        match backend.step(first, pace)? {
            Step::Prefill { done } => {
                self.done = done;
                let (sequence, total) = (self.submission.sequence, self.submission.prompt.len() as u32);
                Ok(Event::Prefill { sequence, done, total })
            }
            // It had less to compute than it said.
            Step::Token(_) | Step::Last(_) => Err(internal("a token came before its prompt was computed")),
        }
    }
}

impl<B: Backend> Texts<B> {
    fn begin(embedding: Embedding, backend: &mut B) -> Result<Self, Failure> {
        let text = text(&embedding, 0, backend)?;
        Ok(Self { embedding, text, number: 0, done: 0 })
    }

    /// Tokens of the text whose turn it is; none when all are done.
    pub(super) fn tokens(&self) -> u32 {
        self.embedding.inputs.get(self.number).map_or(0, |input| input.len() as u32)
    }

    /// Computes a piece of a text; what is to be told of it.
    pub(super) fn piece(&mut self, sequence: SequenceId, backend: &mut B) -> Result<Event, Failure> {
        let Some(vector) = backend.embed(&mut self.text)? else {
            let total = self.embedding.inputs.iter().map(|input| input.len() as u32).sum();
            return Ok(Event::Prefill { sequence, done: self.done, total });
        };
        self.next(backend)?;
        Ok(Event::Vector { sequence, vector })
    }

    /// Goes on to the next text, if there is one.
    fn next(&mut self, backend: &mut B) -> Result<(), Failure> {
        self.done += self.tokens();
        self.number += 1;
        if self.number < self.embedding.inputs.len() {
            self.text = text(&self.embedding, self.number, backend)?;
        }
        Ok(())
    }
}

fn text<B: Backend>(embedding: &Embedding, number: usize, backend: &mut B) -> Result<B::Text, Failure> {
    match embedding.inputs.get(number).map(Vec::as_slice) {
        None => Err(Failure::new(FailureKind::Internal, "vectors are wanted of at least one text")),
        Some([]) => Err(Failure::new(FailureKind::Internal, "a text needs a token")),
        Some(tokens) => backend.begin_text(tokens, embedding.pooling),
    }
}

/// Whether a token ends a sequence and is not told.
pub(super) fn is_stop(submission: &Submission, token: TokenId) -> bool {
    submission.stop_tokens.contains(&token)
}
