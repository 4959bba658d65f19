//! What crosses to a server's client and back: a request becomes a call, pieces become events, its errors the daemon's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cloud::{Call, Error, Piece, Reason};
use protocol::{ErrorData, FinishReason, GenerateEvent, Kind, ModelId, ProviderId, Timings, Usage};

use super::Stream;
use super::check::Check;
use crate::generation::Asked;
use crate::metrics::{Ended, Outcome, Times};
use crate::requests::{Listed, Requests};
use crate::stream::{ms, rate};
use crate::text::{StopMatcher, StopPiece};

/// An answer of a server on its way.
struct Answer {
    pieces: cloud::Stream,
    listed: Listed,
    requests: Arc<Requests>,
    check: Option<Check>,
    /// Some servers do not end at a stop sequence, or only at one that is whole tokens.
    stops: StopMatcher,
    /// How long it may take, from its arrival on.
    deadline: Option<Duration>,
    first: Option<Duration>,
    /// Events that are due before the next piece is taken.
    due: VecDeque<GenerateEvent>,
    has_ended: bool,
}

/// A request as a server's client takes it.
pub(super) fn call(model: &ModelId, asked: &Asked) -> Call {
    let Asked { request, chat, .. } = asked;
    Call {
        model: model.0.clone(),
        messages: chat.messages.clone(),
        options: request.options.clone(),
        tools: chat.tools.clone(),
        tool_choice: chat.choice.clone(),
        reasoning: chat.reasoning,
        response_format: request.response_format.clone(),
    }
}

/// The events of an answer that a server has begun.
pub(super) fn events(pieces: cloud::Stream, listed: Listed, asked: &Asked, requests: Arc<Requests>) -> Stream {
    let remote = &listed.remote;
    let queued = GenerateEvent::Queued {
        request_id: requests.id(remote.sequence),
        trace_id: remote.trace_id.clone(),
        model: remote.model.clone(),
        provider: remote.provider.clone(),
        passed_over: Vec::new(),
        position: 0,
    };
    let started = GenerateEvent::Started { prompt_tokens: 0, seed: asked.request.options.seed };
    let stops = StopMatcher::new(asked.request.options.stop_sequences.clone());
    let check = Check::of(asked.request.response_format.as_ref());
    let due = VecDeque::from([queued, started]);
    let deadline = asked.claim.deadline;
    let answer = Answer { pieces, listed, requests, check, stops, deadline, first: None, due, has_ended: false };
    Box::pin(futures_util::stream::unfold(answer, |mut answer| async {
        let event = answer.next().await?;
        Some((event, answer))
    }))
}

impl Answer {
    async fn next(&mut self) -> Option<GenerateEvent> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(event);
            }
            if self.has_ended {
                return None;
            }
            let cancelled = self.listed.remote.cancel.clone();
            tokio::select! {
                piece = self.pieces.next() => match piece {
                    Some(Ok(piece)) => self.take(piece),
                    Some(Err(failure)) => self.fail(error(&self.listed.remote.provider, &failure)),
                    None => self.fail(crate::error::internal("a server's answer ended without its last piece")),
                },
                () = cancelled.cancelled() => self.finish(FinishReason::Cancelled, None, Usage::default()),
                () = over(self.listed.remote.arrived, self.deadline) => self.cut(),
            }
        }
    }

    /// Its deadline is over: it ends with what it has, if it has something.
    fn cut(&mut self) {
        if self.first.is_none() {
            return self.fail(overdue(&self.listed.remote.provider));
        }
        let held = self.stops.finish();
        self.say(held);
        self.finish(FinishReason::Deadline, None, self.so_far());
    }

    fn take(&mut self, piece: Piece) {
        let sample = 0;
        let event = match piece {
            Piece::Finished { reason, usage } => return self.end(reason, usage),
            Piece::Text(text) => return self.text(&text),
            Piece::Reasoning(text) => GenerateEvent::Reasoning { sample, text },
            Piece::ToolCall { index, id, name } => GenerateEvent::ToolCall { sample, index, id, name },
            Piece::ToolArguments { index, text } => GenerateEvent::ToolArguments { sample, index, text },
        };
        self.came();
        self.due.push_back(event);
    }

    fn text(&mut self, text: &str) {
        self.came();
        let StopPiece { text, hit } = self.stops.push(text);
        self.say(text);
        if hit.is_some() {
            // The rest is not waited for, and so not counted by the server.
            self.finish(FinishReason::Stop, None, self.so_far());
        }
    }

    /// Tells a text that is part of the answer.
    fn say(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        if let Some(check) = &mut self.check {
            check.take(&text);
        }
        self.due.push_back(GenerateEvent::Text { sample: 0, text });
    }

    /// A piece came.
    fn came(&mut self) {
        self.first.get_or_insert_with(|| self.listed.remote.arrived.elapsed());
        self.listed.remote.pieces.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&mut self, reason: Reason, usage: Usage) {
        let held = self.stops.finish();
        self.say(held);
        let (finish_reason, blocked) = match reason {
            Reason::Stop => (FinishReason::Stop, None),
            Reason::ToolCalls => (FinishReason::ToolCalls, None),
            Reason::Length => (FinishReason::Length, None),
            Reason::Blocked(why) => (FinishReason::Blocked, Some(why)),
        };
        // What was cut off by a limit or withheld is not whole, and says so.
        let check = self.check.as_ref().filter(|_| finish_reason == FinishReason::Stop);
        match check.map_or(Ok(()), |check| check.finish(&self.listed.remote.provider)) {
            Ok(()) => self.finish(finish_reason, blocked, usage),
            Err(error) => self.fail(error),
        }
    }

    fn finish(&mut self, finish_reason: FinishReason, blocked: Option<String>, usage: Usage) {
        let timings = self.timings(usage);
        let remote = &self.listed.remote;
        tracing::info!(
            request = %self.requests.id(remote.sequence), trace = remote.trace_id, provider = %remote.provider,
            model = %remote.model, ?finish_reason, prompt_tokens = usage.prompt_tokens,
            completion_tokens = usage.completion_tokens, total_ms = timings.total_ms, "finished"
        );
        self.due.push_back(GenerateEvent::Finished { finish_reason, blocked, usage, timings });
        self.count(Outcome::Finished(finish_reason), usage);
    }

    fn fail(&mut self, error: ErrorData) {
        let remote = &self.listed.remote;
        tracing::warn!(
            request = %self.requests.id(remote.sequence), trace = remote.trace_id, provider = %remote.provider,
            model = %remote.model, kind = ?error.kind, "failed: {}", error.message
        );
        self.count(Outcome::Failed(error.kind), self.so_far());
        self.due.push_back(GenerateEvent::Failed { error });
    }

    /// What is known of the tokens of an answer whose server has not told them.
    fn so_far(&self) -> Usage {
        let completion_tokens = self.listed.remote.pieces.load(Ordering::Relaxed);
        Usage { completion_tokens, ..Usage::default() }
    }

    /// Counts its end.
    fn count(&mut self, outcome: Outcome, usage: Usage) {
        self.has_ended = true;
        let remote = &self.listed.remote;
        let total = remote.arrived.elapsed();
        let finished = matches!(outcome, Outcome::Finished(_)).then_some(total);
        let decode = finished.zip(self.first).map(|(total, first)| total.saturating_sub(first));
        self.requests.end(Ended {
            priority: Some(remote.priority),
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.cached_tokens,
            times: Times {
                first_token: self.first,
                token: decode.and_then(|decode| Times::token(decode, usage.completion_tokens, 1)),
                total: finished,
                ..Times::default()
            },
            ..Ended::new(Some(remote.model.clone()), Some(remote.provider.clone()), outcome)
        });
    }

    /// What can be told from here: the wait for the first piece is all of queue, network and prompt.
    fn timings(&self, usage: Usage) -> Timings {
        let total = Instant::now().saturating_duration_since(self.listed.remote.arrived);
        let first = self.first.unwrap_or(total);
        let decode = total.saturating_sub(first);
        Timings {
            prefill_ms: ms(first),
            decode_ms: ms(decode),
            first_token_ms: self.first.map_or(0.0, ms),
            total_ms: ms(total),
            prefill_tokens_per_s: rate(usage.prompt_tokens, first),
            decode_tokens_per_s: rate(usage.completion_tokens.saturating_sub(1), decode),
            ..Timings::default()
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.has_ended {
            let so_far = self.so_far();
            self.count(Outcome::Abandoned, so_far);
        }
    }
}

/// Completes when the time of a request is over, if that is bounded.
pub(super) async fn over(arrived: Instant, deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until((arrived + deadline).into()).await,
        None => std::future::pending().await,
    }
}

/// Nothing came in time.
pub(super) fn overdue(provider: &ProviderId) -> ErrorData {
    let words = format!("{provider} gave no answer before the deadline_ms of the request were over; give it more time");
    ErrorData::new(Kind::Timeout, words)
}

/// A client's error in the daemon's words.
pub(super) fn error(provider: &ProviderId, error: &Error) -> ErrorData {
    let words = format!("{provider}: {error}");
    let (kind, retry_after) = match error {
        Error::KeyRefused(_) => (Kind::KeyRefused, None),
        Error::QuotaExhausted { retry_after, .. } => (Kind::QuotaExhausted, *retry_after),
        Error::ModelNotFound(_) => (Kind::ModelNotFound, None),
        Error::Invalid(_) => (Kind::InvalidParams, None),
        Error::NotSupported(_) => (Kind::NotSupported, None),
        Error::Unreachable(_) | Error::Failed(_) | Error::Stalled(_) | Error::Interrupted(_) | Error::Malformed(_) => {
            (Kind::ProviderUnavailable, None)
        }
    };
    let mut error = ErrorData::new(kind, words);
    error.retry_after_ms = retry_after.map(|wait| wait.as_millis() as u64);
    error
}
