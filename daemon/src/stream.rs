//! The way back: tokens become text, updates become events.
//!
//! An [`Answer`] is pulled by whoever sends it to the client. Dropping it drops the receiver of its updates, which the
//! scheduler takes as a cancel: a client that is gone, a stream that is unsubscribed and a send that takes too long
//! all end here.

mod reader;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use engine::{Finished, Logprobs, SequenceId, TokenId};
use futures_util::Stream;
use futures_util::future::BoxFuture;
use protocol::{ErrorData, FinishReason, GenerateEvent, ModelId, Priority, RequestId, Timings, Usage};
use tokio::sync::mpsc;

pub use self::reader::Reader;

use crate::backend::Backend;
use crate::error::internal;
use crate::metrics::{Ended, Outcome, Times};
use crate::requests::Requests;
use crate::scheduler::{Scheduler, Update};

/// What names an answer and stays the same.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its name in the scheduler.
    pub sequence: SequenceId,
    /// Its name on the wire.
    pub request_id: RequestId,
    /// The caller's name for it.
    pub trace_id: Option<String>,
    /// Who answers.
    pub model: ModelId,
    /// What runs it.
    pub backend: Backend,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of its draws.
    pub seed: u64,
    /// How urgent it is.
    pub priority: Priority,
    /// How many samples are wanted.
    pub samples: u32,
    /// When it came.
    pub arrived: Instant,
}

/// One answer on its way to a client: a stream of its events.
pub struct Answer {
    head: Head,
    updates: mpsc::Receiver<Update>,
    scheduler: Scheduler,
    requests: Arc<Requests>,
    /// Of each sample, by its number.
    readers: Vec<Reader>,
    /// For the load and for other requests, once the engine has it.
    waited: Option<(Duration, Duration)>,
    first_token: Option<Duration>,
    /// Events that are due before the next update is taken.
    due: VecDeque<GenerateEvent>,
    /// Tells the scheduler, before anything else is done.
    telling: Option<BoxFuture<'static, ()>>,
    ended: bool,
}

impl Answer {
    /// An answer whose updates come through `updates`, each sample with a reader like this.
    pub fn new(
        head: Head,
        reader: &Reader,
        updates: mpsc::Receiver<Update>,
        scheduler: Scheduler,
        requests: Arc<Requests>,
    ) -> Self {
        let readers = (0..head.samples).map(|sample| reader.of(sample)).collect();
        Self {
            head,
            updates,
            scheduler,
            requests,
            readers,
            waited: None,
            first_token: None,
            due: VecDeque::new(),
            telling: None,
            ended: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<GenerateEvent>> {
        loop {
            if let Some(telling) = &mut self.telling {
                ready!(telling.as_mut().poll(cx));
                self.telling = None;
            }
            if let Some(event) = self.due.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let update = ready!(self.updates.poll_recv(cx));
            if let Some(sample) = self.take(update) {
                self.telling = Some(Box::pin(end(self.scheduler.clone(), self.head.sequence, sample)));
            }
        }
    }

    /// Turns an update into events that are due; the number of a sample that the engine is to end.
    fn take(&mut self, update: Option<Update>) -> Option<u32> {
        match update {
            Some(Update::Queued(position)) => {
                let Head { request_id, trace_id, model, backend, .. } = self.head.clone();
                let (provider, passed_over) = (backend.into(), Vec::new());
                self.due.push_back(GenerateEvent::Queued {
                    request_id,
                    trace_id,
                    model,
                    provider,
                    passed_over,
                    position,
                });
            }
            Some(Update::Loading { done_bytes, total_bytes }) => {
                self.due.push_back(GenerateEvent::Loading { done_bytes, total_bytes });
            }
            Some(Update::Started { load, queue }) => {
                self.waited = Some((load, queue));
                let Head { prompt_tokens, seed, .. } = self.head;
                self.due.push_back(GenerateEvent::Started { prompt_tokens, seed: Some(seed) });
            }
            Some(Update::Token(sample, id, logprobs)) => return self.token(sample, id, logprobs.as_ref()),
            Some(Update::Ended(sample, reason)) => self.end_sample(sample, reason, FinishReason::Cancelled),
            Some(Update::Vector(_)) => self.fail(internal("an engine gave a vector where text was asked for")),
            Some(Update::Finished(finished)) => self.finish(&finished, FinishReason::Cancelled),
            Some(Update::Cut(finished)) => self.finish(&finished, FinishReason::Deadline),
            Some(Update::Failed(error)) => self.fail(error),
            None => self.fail(internal("the scheduler ended")),
        }
        None
    }

    fn token(&mut self, sample: u32, id: TokenId, logprobs: Option<&Logprobs>) -> Option<u32> {
        self.first_token.get_or_insert_with(|| self.head.arrived.elapsed());
        let reader = self.readers.get_mut(sample as usize).filter(|reader| !reader.is_stopped())?;
        reader.push(id, logprobs, &mut self.due);
        reader.is_stopped().then_some(sample)
    }

    /// `cut` says what it means that the engine was asked to end it.
    fn end_sample(&mut self, sample: u32, reason: engine::FinishReason, cut: FinishReason) {
        let Some(reader) = self.readers.get_mut(sample as usize).filter(|reader| reader.finish_reason().is_none())
        else {
            return;
        };
        reader.finish(reason, cut, &mut self.due);
        if let Some(finish_reason) = reader.finish_reason().filter(|_| self.head.samples > 1) {
            self.due.push_back(GenerateEvent::SampleFinished { sample, finish_reason });
        }
    }

    fn finish(&mut self, finished: &Finished, cut: FinishReason) {
        // Of several, those that ended by themselves have said so; the reason here is that of the first.
        let reason = if self.head.samples > 1 { engine::FinishReason::Cancelled } else { finished.reason };
        for sample in 0..self.head.samples {
            self.end_sample(sample, reason, cut);
        }
        let finish_reason = self.readers.first().and_then(Reader::finish_reason).unwrap_or(FinishReason::Cancelled);
        let completion_tokens = self.readers.iter().map(Reader::tokens).sum();
        let usage = Usage {
            prompt_tokens: self.head.prompt_tokens,
            completion_tokens,
            cached_tokens: finished.cached_tokens,
            speculated_tokens: finished.speculated_tokens,
        };
        let timings = self.timings(finished);
        tracing::info!(
            request = %self.head.request_id, trace = self.head.trace_id, model = %self.head.model, ?finish_reason,
            prompt_tokens = usage.prompt_tokens, completion_tokens = usage.completion_tokens,
            cached_tokens = usage.cached_tokens, speculated_tokens = usage.speculated_tokens,
            total_ms = timings.total_ms, "finished"
        );
        self.end(GenerateEvent::Finished { finish_reason, blocked: None, usage, timings });
        let decode = Duration::from_micros(finished.decode_us);
        let ended = self.ended(Outcome::Finished(finish_reason));
        self.requests.end(Ended {
            cached_tokens: finished.cached_tokens,
            times: Times {
                token: Times::token(decode, finished.completion_tokens, self.head.samples),
                total: Some(self.head.arrived.elapsed()),
                ..ended.times
            },
            ..ended
        });
    }

    fn fail(&mut self, error: ErrorData) {
        tracing::warn!(
            request = %self.head.request_id, trace = self.head.trace_id, model = %self.head.model, kind = ?error.kind,
            "failed: {}", error.message
        );
        let ended = self.ended(Outcome::Failed(error.kind));
        self.end(GenerateEvent::Failed { error });
        self.requests.end(ended);
    }

    /// What is known of it however it ends.
    fn ended(&self, outcome: Outcome) -> Ended {
        let Head { model, backend, priority, prompt_tokens, .. } = &self.head;
        let (load, queue) = self.waited.unzip();
        Ended {
            priority: Some(*priority),
            // What the engine never had was no work.
            prompt_tokens: self.waited.map_or(0, |_| *prompt_tokens),
            completion_tokens: self.readers.iter().map(Reader::tokens).sum(),
            times: Times { load, queue, first_token: self.first_token, ..Times::default() },
            ..Ended::new(Some(model.clone()), Some((*backend).into()), outcome)
        }
    }

    fn end(&mut self, last: GenerateEvent) {
        self.due.push_back(last);
        self.ended = true;
    }

    fn timings(&self, finished: &Finished) -> Timings {
        let (load, queue) = self.waited.unwrap_or_default();
        let (prefill, decode) = (Duration::from_micros(finished.prefill_us), Duration::from_micros(finished.decode_us));
        Timings {
            queue_ms: ms(queue),
            load_ms: ms(load),
            prefill_ms: ms(prefill),
            decode_ms: ms(decode),
            first_token_ms: self.first_token.map_or(0.0, ms),
            total_ms: ms(self.head.arrived.elapsed()),
            prefill_tokens_per_s: rate(finished.prompt_tokens, prefill),
            decode_tokens_per_s: rate(finished.completion_tokens.saturating_sub(1), decode),
        }
    }
}

impl Stream for Answer {
    type Item = GenerateEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<GenerateEvent>> {
        self.get_mut().poll(cx)
    }
}

/// The engine ends the sample within one step, and with the last of them the sequence; its last word has the timings.
async fn end(scheduler: Scheduler, sequence: SequenceId, sample: u32) {
    // A scheduler that is gone has ended it already.
    let _ = scheduler.end(sequence, sample).await;
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.ended {
            self.requests.end(self.ended(Outcome::Abandoned));
        }
    }
}

/// Milliseconds to three places: microseconds are what the clocks here can tell.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Tokens per second to two places; 0 where no time was taken.
pub fn rate(tokens: u32, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { (f64::from(tokens) / time.as_secs_f64() * 100.0).round() / 100.0 }
}
