//! One sequence's timeline: its caches, its random state, the token on its way.
//!
//! The prompt is computed in chunks but for its last token, which is the input of the first step, so that the head is
//! computed for one row. Then each step gives one token.
//!
//! Where a grammar is obeyed, a token cannot be chosen before the one before it is read; its logits can be computed all
//! the same, and the tokens that may come are found while they are.

use std::rc::Rc;
use std::time::{Duration, Instant};

use engine::backend::{Pace, Step};
use engine::grammar::Constraint;
use engine::message::{Logprobs, Submission, TokenId};
use mlx_rs::{Array, Dtype, memory, transforms};

use crate::array::tokens;
use crate::cache::{self, Cache};
use crate::device::{Device, OneThread};
use crate::error::{Error, Result};
use crate::grammar;
use crate::logprobs;
use crate::models::Model;
use crate::prefix::{Kept, Recorder};
use crate::sampler::Sampler;

/// Tokens after which MLX's spare buffers are given back: the caches' growth leaves ever larger ones behind.
const CLEAR_EVERY: u32 = 256;

/// A sequence that runs. Stays on the thread of its backend.
pub struct Sequence {
    prompt: Vec<TokenId>,
    /// Prompt tokens in the caches.
    done: usize,
    /// One for each layer.
    caches: Vec<Cache>,
    /// Hands what they have to those who begin alike.
    recorder: Recorder,
    sampler: Sampler,
    constraint: Option<Constraint>,
    /// The token that the next step follows, of shape `[1]`: the last of the prompt, or the last that was given.
    input: Array,
    /// The step after `input`, already being computed.
    ahead: Option<Started>,
    /// Tokens given so far, and wanted at most.
    given: u32,
    wanted: u32,
    /// How many likeliest tokens' log-probabilities go with each token, where they are wanted.
    logprobs: Option<u32>,
    /// The token that was given last, and the logits that it was chosen from; kept only where they are asked for.
    chosen: Option<(TokenId, Array)>,
    /// Spent on building graphs, which the device then computes.
    built: Duration,
    _thread: OneThread,
}

/// A step that the device computes.
struct Started {
    /// The next token, or where a grammar has a say in that, its logits of shape `[1, vocabulary]`.
    next: Array,
    /// Whether a logit is NaN. Read with the token, and so a matter of microseconds.
    nan: Array,
    /// The logits as the model computed them, where they are asked for.
    logits: Option<Array>,
}

impl Sequence {
    /// Checks the submission against the model. Computes nothing.
    pub(crate) fn new(submission: &Submission, model: &dyn Model) -> Result<Self> {
        let facts = model.facts();
        let prompt = &submission.prompt;
        facts.check(prompt)?;
        let caches = match submission.kv_bits {
            Some(bits) => cache::in_bits(model.caches(), bits, model.head_dim())?,
            None => model.caches(),
        };
        Ok(Self {
            prompt: prompt.clone(),
            done: 0,
            caches,
            recorder: Recorder::default(),
            sampler: Sampler::new(&submission.sampling, prompt, facts.vocab_size)?,
            constraint: None,
            input: tokens(&prompt[prompt.len() - 1..]),
            ahead: None,
            given: 0,
            wanted: submission.max_tokens,
            logprobs: submission.logprobs,
            chosen: None,
            built: Duration::ZERO,
            _thread: OneThread::default(),
        })
    }

    /// Another for the same prompt, as far as that is computed, before a token is given. Both hold the same buffers until
    /// one of them writes, which then makes a copy for itself.
    pub(crate) fn fork(&self, submission: &Submission, model: &dyn Model) -> Result<Self> {
        let (caches, recorder) = (self.caches.clone(), self.recorder.clone());
        Ok(Self { done: self.done, caches, recorder, ..Self::new(submission, model)? })
    }

    /// Takes what is kept of the beginning of the prompt, before the first step, and keeps what comes behind.
    pub(crate) fn sharing(mut self, kept: &Rc<Kept>, submission: &Submission) -> Result<Self> {
        (self.recorder, self.done) = kept.begin(submission, &mut self.caches)?;
        Ok(self)
    }

    /// Tokens of the prompt that are in the caches.
    pub(crate) fn computed(&self) -> u32 {
        self.done as u32
    }

    /// Bytes for each token in the caches, once one is there.
    pub(crate) fn token_bytes(&self) -> u64 {
        self.caches.iter().map(Cache::token_bytes).sum()
    }

    /// Time spent on building the graphs of tokens so far.
    pub(crate) fn built(&self) -> Duration {
        self.built
    }

    /// Log-probabilities at the token given last, where they are wanted.
    pub(crate) fn logprobs(&mut self) -> Result<Option<Logprobs>> {
        let Some((count, (id, logits))) = self.logprobs.zip(self.chosen.take()) else { return Ok(None) };
        logprobs::at(&logits, id, count).map(Some)
    }

    /// Has the text obey a grammar, before its first token.
    pub(crate) fn obeying(self, constraint: Constraint) -> Self {
        Self { constraint: Some(constraint), ..self }
    }

    /// Computes a chunk of the prompt, or the next token.
    pub(crate) fn step(&mut self, model: &dyn Model, device: &Device, pace: Pace) -> Result<Step> {
        let rest = self.prompt.len() - 1 - self.done;
        if rest > 0 { self.prefill(model, rest.min(device.chunk(pace))) } else { self.token(model, device) }
    }

    /// Computes the whole prompt and the logits after it.
    pub(crate) fn logits(&mut self, model: &dyn Model, device: &Device) -> Result<Vec<f32>> {
        while self.done + 1 < self.prompt.len() {
            self.step(model, device, Pace::Alone)?;
        }
        let hidden = model.hidden(&self.input.reshape(&[1, 1])?, &mut self.caches)?;
        let logits = model.logits(&hidden)?.reshape(&[-1])?.as_dtype(Dtype::Float32)?;
        logits.to_vec_exact().map_err(|error| Error::Internal(error.to_string()))
    }

    fn prefill(&mut self, model: &dyn Model, count: usize) -> Result<Step> {
        let end = self.done + count;
        let chunk = tokens(&self.prompt[self.done..end]).reshape(&[1, count as i32])?;
        // Only the caches are wanted: neither the head nor the last layer's MLP is ever computed.
        model.hidden(&chunk, &mut self.caches)?;
        transforms::eval(self.caches.iter().flat_map(Cache::state))?;
        self.recorder.computed(end, &mut self.caches)?;
        memory::clear_cache()?;
        self.done = end;
        Ok(Step::Prefill { done: end as u32 })
    }

    fn token(&mut self, model: &dyn Model, device: &Device) -> Result<Step> {
        let Started { next, nan, logits } = match self.ahead.take() {
            Some(started) => started,
            None => self.start(model)?,
        };
        self.input = match &mut self.constraint {
            Some(constraint) => self.sampler.next(&grammar::mask(&next, constraint)?)?,
            None => next,
        };
        self.given += 1;
        if device.pipelines && self.given < self.wanted && self.room(model) {
            self.ahead = Some(self.start(model)?);
        }
        if self.given.is_multiple_of(CLEAR_EVERY) {
            memory::clear_cache()?;
        }
        let id = self.input.try_item_exact().map_err(|error| Error::Internal(error.to_string()))?;
        if nan.try_item_exact().map_err(|error| Error::Internal(error.to_string()))? {
            self.recorder.disown();
            return Err(Error::nan());
        }
        self.recorder.given(id, &self.caches)?;
        self.chosen = logits.map(|logits| (id, logits));
        let is_whole = match &mut self.constraint {
            Some(constraint) => constraint.accept(id)?,
            None => false,
        };
        Ok(if is_whole { Step::Last(id) } else { Step::Token(id) })
    }

    /// Builds the step after `input` and has it computed, without waiting.
    fn start(&mut self, model: &dyn Model) -> Result<Started> {
        if !self.room(model) {
            return Err(Error::NotSupported(format!("the context of {} tokens is full", model.facts().context)));
        }
        let begun = Instant::now();
        let hidden = model.hidden(&self.input.reshape(&[1, 1])?, &mut self.caches)?;
        let logits = model.logits(&hidden)?.reshape(&[1, -1])?;
        let nan = logits.is_nan()?.any(false)?;
        let kept = self.logprobs.is_some().then(|| logits.clone());
        let next = if self.constraint.is_some() { logits } else { self.sampler.next(&logits)? };
        self.built += begun.elapsed();
        transforms::async_eval([&next, &nan])?;
        Ok(Started { next, nan, logits: kept })
    }

    fn room(&self, model: &dyn Model) -> bool {
        self.caches.first().is_none_or(|cache| cache.len() < model.facts().context as i32)
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
