//! One sequence: its timeline, its random state, the token that came last.
//!
//! The prompt is computed in chunks but for its last token, which is the input of the first step. Then each step gives one
//! token. Where the timeline has tokens of the prompt already, the first step says so and computes nothing.

use engine::backend::Step;
use engine::grammar::Constraint;
use engine::message::{Logprobs, Speculation, Submission, TokenId};

use crate::error::{Error, Result};
use crate::logprobs;
use crate::model::Model;
use crate::sampler::Sampler;
use crate::timeline::Running;

/// Most prompt tokens of a step: a cancel waits for it.
const CHUNK: usize = 512;

/// A sequence that runs. Stays on the thread of its backend.
pub struct Sequence {
    prompt: Vec<TokenId>,
    timeline: Running,
    /// Whether the prompt's first tokens were in the timeline before this sequence, which nobody was told yet.
    goes_on: bool,
    sampler: Sampler,
    constraint: Option<Constraint>,
    /// The token that the next step follows: the last of the prompt, or the last that was given.
    input: TokenId,
    /// How many likeliest tokens' log-probabilities go with each token, where they are wanted.
    logprobs: Option<u32>,
    /// Those of the token that was given last.
    chosen: Option<Logprobs>,
}

impl Sequence {
    /// Checks the submission against the model, and goes on from `timeline`, which begins like its prompt. Computes nothing.
    pub(crate) fn new(submission: &Submission, model: &Model, timeline: Running) -> Result<Self> {
        let prompt = &submission.prompt;
        let input = check(submission, model)?;
        Ok(Self {
            prompt: prompt.clone(),
            goes_on: timeline.len() > 0,
            timeline,
            sampler: Sampler::new(&submission.sampling, prompt, model.config.vocab_size)?,
            constraint: None,
            input,
            logprobs: submission.logprobs,
            chosen: None,
        })
    }

    /// Another for the same prompt, as far as that is computed, before a token is given.
    pub(crate) fn fork(&self, submission: &Submission, model: &Model) -> Result<Self> {
        let forked = Self::new(submission, model, self.timeline.fork()?)?;
        Ok(Self { goes_on: false, ..forked })
    }

    /// Has the text obey a grammar, before its first token.
    pub(crate) fn obeying(self, constraint: Constraint) -> Self {
        Self { constraint: Some(constraint), ..self }
    }

    /// Log-probabilities at the token given last, where they are wanted.
    pub(crate) fn logprobs(&mut self) -> Option<Logprobs> {
        self.chosen.take()
    }

    /// Tokens of the prompt that are computed.
    pub(crate) fn computed(&self) -> u32 {
        self.timeline.len().min(self.prompt.len()) as u32
    }

    /// Computes a chunk of the prompt, or the next token.
    pub(crate) fn step(&mut self, model: &Model) -> Result<Step> {
        let step = if std::mem::take(&mut self.goes_on) {
            Ok(Step::Prefill { done: self.timeline.len() as u32 })
        } else if self.is_prompt_done() {
            self.token(model)
        } else {
            self.prefill(model)
        };
        step.inspect_err(|_| self.timeline.forget())
    }

    /// The logits after the whole prompt.
    pub(crate) fn prompt_logits(mut self, model: &Model) -> Result<Vec<f32>> {
        while !self.is_prompt_done() {
            self.prefill(model)?;
        }
        self.logits(model)
    }

    /// But for its last token.
    fn is_prompt_done(&self) -> bool {
        self.timeline.len() + 1 >= self.prompt.len()
    }

    fn prefill(&mut self, model: &Model) -> Result<Step> {
        let done = self.timeline.len();
        let end = (done + CHUNK).min(self.prompt.len() - 1);
        self.timeline.extend(&self.prompt[done..end], model)?;
        Ok(Step::Prefill { done: end as u32 })
    }

    fn token(&mut self, model: &Model) -> Result<Step> {
        let mut logits = self.logits(model)?;
        let kept = self.logprobs.map(|count| (count, logits.clone()));
        if let Some(constraint) = &mut self.constraint {
            mask(&mut logits, &constraint.allowed(model.config.vocab_size as u32)?);
        }
        let token = self.sampler.next(logits);
        self.chosen = kept.map(|(count, logits)| logprobs::at(&logits, token, count));
        self.input = token;
        let is_whole = match &mut self.constraint {
            Some(constraint) => constraint.accept(token)?,
            None => false,
        };
        Ok(if is_whole { Step::Last(token) } else { Step::Token(token) })
    }

    fn logits(&mut self, model: &Model) -> Result<Vec<f32>> {
        let context = model.config.context();
        if self.timeline.len() >= context {
            return Err(Error::NotSupported(format!("the context of {context} tokens is full")));
        }
        model.logits(&self.timeline.extend(&[self.input], model)?)
    }
}

/// No filter or bias lifts a logit from −∞.
fn mask(logits: &mut [f32], allowed: &[bool]) {
    for (logit, _) in logits.iter_mut().zip(allowed).filter(|(_, allowed)| !**allowed) {
        *logit = f32::NEG_INFINITY;
    }
}

/// The last token of the prompt, where the model can take all of it.
fn check(submission: &Submission, model: &Model) -> Result<TokenId> {
    let (vocab_size, context) = (model.config.vocab_size, model.config.context());
    if submission.kv_bits.is_some() {
        return Err(Error::NotSupported("Candle's engine keeps keys and values in float32; leave kv_bits out".into()));
    }
    if matches!(submission.speculation, Speculation::Lookup | Speculation::Draft) {
        let words = "Candle's engine guesses no tokens; leave speculation at auto, which runs without";
        return Err(Error::NotSupported(words.into()));
    }
    if let Some(token) = submission.prompt.iter().find(|token| **token as usize >= vocab_size) {
        return Err(Error::Internal(format!("token {token} of the prompt is not one of {vocab_size}")));
    }
    if submission.prompt.len() > context {
        return Err(Error::Internal(format!("a prompt of {} tokens, but {context} fit", submission.prompt.len())));
    }
    submission.prompt.last().copied().ok_or_else(|| Error::Internal("a prompt without a token".into()))
}
