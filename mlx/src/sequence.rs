//! One sequence's timeline: its caches, its random state, the token on its way.
//!
//! The prompt is computed in chunks but for its last token, which is the input of the first step, so that the head is
//! computed for one row. Then each step gives one token. Where steps are computed ahead, a last chunk that is short has the
//! first one computed in the same pass.
//!
//! Where a grammar is obeyed, a token cannot be chosen before the one before it is read; its logits can be computed all
//! the same, and the tokens that may come are found while they are.
//!
//! Steps are computed for several sequences at once: see [`batch`]; and several of one that runs alone, where tokens can be
//! guessed, from the text or by a draft: see [`guesses`].

pub mod batch;
mod guesses;
mod seating;
mod share;

use std::rc::Rc;
use std::time::Duration;

use engine::backend::{Pace, Step};
use engine::grammar::Constraint;
use engine::message::{Logprobs, Speculation, Submission, TokenId};
use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, Dtype, memory, transforms};

use crate::array::{tokens, tokens_of};
use crate::cache::{self, Cache, Seat};
use crate::device::{BLOCK, Device, OneThread};
use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::layers::attention;
use crate::logprobs;
use crate::models::Model;
use crate::prefix::{Kept, Recorder};
use crate::sampler::Sampler;
use crate::sequence::guesses::Guesses;
use crate::sequence::share::Share;

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
    /// The token that the next step follows: the last of the prompt, or the last that was given.
    input: Share,
    /// The step after `input`, already being computed.
    ahead: Option<Started>,
    /// Absent where no token is guessed.
    guesses: Option<Guesses>,
    /// Tokens given so far, and wanted at most.
    given: u32,
    wanted: u32,
    /// How many likeliest tokens' log-probabilities go with each token, where they are wanted.
    logprobs: Option<u32>,
    /// The token that was given last, and the logits that it was chosen from; kept only where they are asked for.
    chosen: Option<(TokenId, Share)>,
    /// Spent on building graphs, which the device then computes.
    built: Duration,
    /// Why its caches may be half written, where a step was broken off: it must not go on.
    broken: Option<String>,
    _thread: OneThread,
}

/// A step that the device computes: what it has for this sequence.
struct Started {
    /// The next token, or where a grammar has a say in that, its logits.
    next: Share,
    /// Whether a logit is NaN. Read with the token, and so a matter of microseconds.
    nan: Share,
    /// The logits as the model computed them, where they are asked for.
    logits: Option<Share>,
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
        let guesses = Guesses::of(submission.speculation, prompt, &caches)?;
        Ok(Self {
            prompt: prompt.clone(),
            done: 0,
            caches,
            recorder: Recorder::default(),
            sampler: Sampler::new(&submission.sampling, prompt, facts.vocab_size)?,
            constraint: None,
            input: Share::whole(tokens(&prompt[prompt.len() - 1..])),
            ahead: None,
            guesses,
            given: 0,
            wanted: submission.max_tokens,
            logprobs: submission.logprobs,
            chosen: None,
            built: Duration::ZERO,
            broken: None,
            _thread: OneThread::default(),
        })
    }

    /// Another for the same prompt, as far as that is computed, before a token is given. Both hold the same buffers until
    /// one of them writes, which then makes a copy for itself.
    pub(crate) fn fork(&self, submission: &Submission, model: &dyn Model) -> Result<Self> {
        self.sound()?;
        let caches = self.caches.iter().map(Cache::fork).collect::<MlxResult<_>>()?;
        let recorder = self.recorder.clone();
        let mut forked = Self { done: self.done, caches, recorder, ..Self::new(submission, model)? };
        forked.take_back()?;
        Ok(forked)
    }

    /// Takes what is kept of the beginning of the prompt, before the first step, and keeps what comes behind.
    pub(crate) fn sharing(mut self, kept: &Rc<Kept>, submission: &Submission) -> Result<Self> {
        (self.recorder, self.done) = kept.begin(submission, &mut self.caches)?;
        Ok(self)
    }

    /// Has a draft guess, where it may; `draft` is in words why there is none.
    pub(crate) fn drafted_by(
        mut self,
        draft: &std::result::Result<Rc<Draft>, String>,
        submission: &Submission,
        model: &dyn Model,
    ) -> Result<Self> {
        match (draft, &mut self.guesses) {
            (Ok(draft), Some(guesses)) => guesses.draft(draft, model.facts().vocab_size, submission)?,
            (Err(words), _) if submission.speculation == Speculation::Draft => {
                return Err(Error::NotSupported(words.clone()));
            }
            _ => {}
        }
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

    /// The most tokens that its windows keep, and bytes of each in all of them, once one is there.
    pub(crate) fn window_bytes(&self) -> (u32, u64) {
        let windows = self.caches.iter().filter_map(Cache::window_bytes);
        windows.fold((0, 0), |(most, all), (tokens, bytes)| (most.max(tokens), all + bytes))
    }

    /// Time spent on building the graphs of tokens so far.
    pub(crate) fn built(&self) -> Duration {
        self.built
    }

    /// Tokens given so far that had been guessed.
    pub(crate) fn speculated(&self) -> u32 {
        self.guesses.as_ref().map_or(0, Guesses::given)
    }

    /// Log-probabilities at the token given last, where they are wanted.
    pub(crate) fn logprobs(&mut self) -> Result<Option<Logprobs>> {
        let Some((count, (id, logits))) = self.logprobs.zip(self.chosen.take()) else { return Ok(None) };
        logprobs::at(&logits.alone()?, id, count).map(Some)
    }

    /// Has the text obey a grammar, before its first token.
    pub(crate) fn obeying(self, constraint: Constraint) -> Self {
        Self { constraint: Some(constraint), ..self }
    }

    /// Takes what it has out of the buffers that it shares, which else stay as long as it does, rows of all others included.
    pub(crate) fn rest(&mut self) {
        if let Err(error) = cache::leave(&mut self.caches) {
            self.broken = Some(error.to_string());
        }
    }

    /// Computes a chunk of the prompt, or the next token.
    pub(crate) fn step(&mut self, model: &dyn Model, device: &Device, pace: Pace) -> Result<Step> {
        match self.prompt.len() - 1 - self.done {
            0 => batch::decode(&mut [self], model, device).swap_remove(0),
            rest => self.prefill(model, rest.min(device.chunk(pace)), device),
        }
    }

    /// Computes the whole prompt and the logits after it.
    pub(crate) fn logits(&mut self, model: &dyn Model, device: &Device) -> Result<Vec<f32>> {
        while self.done + 1 < self.prompt.len() {
            self.step(model, device, Pace::Alone)?;
        }
        self.take_back()?;
        let hidden = model.hidden(&self.input.alone()?.reshape(&[1, 1])?, &mut self.caches)?;
        let logits = model.logits(&hidden)?.reshape(&[-1])?.as_dtype(Dtype::Float32)?;
        logits.to_vec_exact().map_err(|error| Error::Internal(error.to_string()))
    }

    fn prefill(&mut self, model: &dyn Model, count: usize, device: &Device) -> Result<Step> {
        let end = self.done + count;
        let is_last = end + 1 == self.prompt.len();
        if is_last && device.pipelines && count < device.shared_chunk && self.can_cut() {
            // Two passes would read all weights twice, and somebody would wait between them.
            let hidden = self.pass(model, end + 1, device)?;
            batch::start_behind(self, &tokens_of(&hidden, count as i32, count as i32 + 1)?, model)?;
            self.recorder.computed(end, &mut self.caches)?;
            self.done = end;
            return Ok(Step::Prefill { done: end as u32 });
        }
        // Only the caches are wanted: neither the head nor the last layer's MLP is ever computed.
        self.pass(model, end, device)?;
        transforms::eval(self.caches.iter().flat_map(Cache::state))?;
        self.recorder.computed(end, &mut self.caches)?;
        // A long piece leaves large buffers; those of a short one serve the next.
        if count >= device.shared_chunk {
            memory::clear_cache()?;
        }
        self.done = end;
        Ok(Step::Prefill { done: end as u32 })
    }

    /// The last vectors `[1, tokens, hidden]` after the tokens of the prompt that are not in the caches, up to `end`, and
    /// perhaps of some behind them that nobody asked for. The caches have those up to `end` then.
    fn pass(&mut self, model: &dyn Model, end: usize, device: &Device) -> Result<Array> {
        let mut chunk = self.prompt[self.done..end].to_vec();
        let count = chunk.len();
        if device.pads && self.can_cut() {
            // What lies behind a token does not change what it is computed to.
            chunk.resize(padded(count, end), 0);
        }
        let hidden = model.hidden(&tokens(&chunk).reshape(&[1, chunk.len() as i32])?, &mut self.caches)?;
        if chunk.len() > count {
            self.cut(end)?;
        }
        Ok(hidden)
    }

    /// Whether its caches can be cut.
    fn can_cut(&self) -> bool {
        self.caches.iter().all(Cache::can_cut)
    }

    /// Takes back all but the first `len` tokens.
    fn cut(&mut self, len: usize) -> Result<()> {
        self.caches.iter_mut().try_for_each(|cache| cache.cut(len as i32))
    }

    /// Takes back the step after the prompt, where that was started with the prompt's last piece.
    fn take_back(&mut self) -> Result<()> {
        if self.can_cut() { self.cut(self.done) } else { Ok(()) }
    }

    /// Its row of buffers that it shares with others.
    fn slot(&self) -> Option<usize> {
        cache::seat_of(&self.caches).map(Seat::slot)
    }

    /// But for its last token, whose step gives the first of the answer.
    fn is_prompt_done(&self) -> bool {
        self.done + 1 == self.prompt.len()
    }

    /// That another step can be taken.
    fn may_go_on(&self, model: &dyn Model) -> Result<()> {
        self.sound()?;
        if self.ahead.is_none() && !self.room(model) {
            return Err(Error::NotSupported(format!("the context of {} tokens is full", model.facts().context)));
        }
        Ok(())
    }

    /// That no step was broken off.
    fn sound(&self) -> Result<()> {
        self.broken.as_ref().map_or(Ok(()), |words| Err(Error::Internal(words.clone())))
    }

    fn room(&self, model: &dyn Model) -> bool {
        self.caches.first().is_none_or(|cache| cache.len() < model.facts().context as i32)
    }
}

/// Tokens that are computed of a piece of a prompt with so many, up to the one at `end`, where kernels are built for every
/// shape: for long pieces those of few lengths serve all. Others but the shortest are whole blocks, for which products are
/// faster, those of attention too.
fn padded(count: usize, end: usize) -> usize {
    const STEP: usize = 256;
    const SHORT: usize = 8;
    let blocks = count.next_multiple_of(BLOCK);
    match count {
        ..SHORT => count,
        STEP.. if !attention::is_odd(blocks as i32, (end - count + blocks) as i32) => count.next_multiple_of(STEP),
        _ => blocks,
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
