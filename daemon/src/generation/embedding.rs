//! One request for vectors, from its texts to its result: the same walk as an answer's, without a stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Embedding, FinishReason, Finished, SequenceId, Work};
use protocol::embeddings::MOST_INPUTS;
use protocol::turn::time_of;
use protocol::{
    Capability, EmbeddingsRequest, EmbeddingsResult, ErrorData, Kind, MAX_MESSAGE_BYTES, ModelId, Pooling, Timings,
};
use tokio::sync::mpsc;

use super::{Generation, check_names, claim};
use crate::app::App;
use crate::backend::Backend;
use crate::error::{internal, invalid};
use crate::scheduler::{Job, Update};
use crate::stream::{ms, rate};
use crate::text::TextModel;

/// The longest number of a vector as JSON, with its comma.
const NUMBER_BYTES: usize = 16;

/// What the updates of such a request add up to.
#[derive(Default)]
struct Collected {
    vectors: Vec<Vec<f32>>,
    load: Duration,
    queue: Duration,
}

impl Generation {
    /// Makes a vector of each text. Dropping the future cancels it.
    pub async fn embed(
        &self,
        sequence: SequenceId,
        request: EmbeddingsRequest,
        backend: Backend,
        app: App,
    ) -> Result<EmbeddingsResult, ErrorData> {
        let arrived = Instant::now();
        let claim = claim(app, request.priority, request.queue_timeout_ms, request.deadline_ms)?;
        let model = self.model(request.model.as_ref(), backend, Capability::Embed).await?;
        let text = self.text(&model, request.keep_alive).await?;
        let pooling = request.pooling.or(text.pooling()).unwrap_or(Pooling::Mean);
        let inputs = encode(&model.id, Arc::clone(&text), request.input).await?;
        let texts = inputs.len();
        let (id, trace_id) = (model.id.clone(), request.trace_id.clone());
        let work = Work::Embed(Embedding { sequence, inputs, pooling: pooling_of(pooling) });
        let job = Job { model, work, keep_alive: request.keep_alive, trace_id: request.trace_id, arrived, claim };
        let updates = self.scheduler.submit(job).await?;
        let (mut collected, finished) = collect(updates, texts).await?;
        if request.normalize {
            collected.vectors.iter_mut().for_each(|vector| normalize(vector));
        }
        Ok(EmbeddingsResult {
            request_id: self.requests.id(sequence),
            trace_id,
            model: id,
            provider: backend.into(),
            timings: timings(&collected, &finished, arrived),
            prompt_tokens: finished.prompt_tokens,
            embeddings: collected.vectors,
        })
    }
}

/// Refuses what nobody can make vectors of.
pub fn check(request: &EmbeddingsRequest) -> Result<(), ErrorData> {
    check_names(request.trace_id.as_deref(), request.app.as_deref())?;
    time_of("queue_timeout_ms", request.queue_timeout_ms).map_err(invalid)?;
    time_of("deadline_ms", request.deadline_ms).map_err(invalid)?;
    let count = request.input.len();
    if !(1..=MOST_INPUTS).contains(&count) {
        return Err(invalid(format!("`input` has {count} texts, but 1 to {MOST_INPUTS} are possible")));
    }
    match request.input.iter().position(|text| text.trim().is_empty()) {
        Some(place) => Err(invalid(format!("`input[{place}]` is empty"))),
        None => Ok(()),
    }
}

/// Encodes off the event loop: many texts take milliseconds.
async fn encode(id: &ModelId, text: Arc<TextModel>, inputs: Vec<String>) -> Result<Vec<Vec<u32>>, ErrorData> {
    let context = text.context_length();
    let encoded = tokio::task::spawn_blocking(move || {
        inputs.iter().map(|input| text.encode_text(input)).collect::<Result<Vec<_>, _>>()
    });
    let encoded = encoded.await.map_err(|_| internal("encoding the texts panicked"))??;
    for (place, tokens) in encoded.iter().enumerate() {
        let needed = tokens.len();
        if let Some(context) = context.filter(|context| needed > *context as usize) {
            let words = format!("`input[{place}]` has {needed} tokens, but {id} holds {context}; split the text");
            let mut error = ErrorData::new(Kind::ContextOverflow, words);
            (error.needed_tokens, error.context_length) = (Some(needed as u64), Some(u64::from(context)));
            return Err(error);
        }
    }
    Ok(encoded)
}

/// Ends early, which cancels the rest, where the first vector shows that all of them are too many for one result.
async fn collect(mut updates: mpsc::Receiver<Update>, texts: usize) -> Result<(Collected, Finished), ErrorData> {
    let mut collected = Collected::default();
    while let Some(update) = updates.recv().await {
        match update {
            Update::Queued(_) | Update::Loading { .. } => {}
            Update::Started { load, queue } => (collected.load, collected.queue) = (load, queue),
            Update::Vector(vector) => {
                check_size(texts, vector.len())?;
                collected.vectors.push(vector);
            }
            Update::Finished(finished) if finished.reason == FinishReason::Cancelled => {
                return Err(ErrorData::new(Kind::Cancelled, "the request was cancelled before all vectors were made"));
            }
            Update::Finished(finished) => return Ok((collected, finished)),
            Update::Failed(error) => return Err(error),
            Update::Token(..) | Update::Ended(..) | Update::Cut(_) => {
                return Err(internal("an engine gave text where vectors were asked for"));
            }
        }
    }
    Err(internal("the scheduler ended"))
}

fn check_size(texts: usize, dims: usize) -> Result<(), ErrorData> {
    let most = MAX_MESSAGE_BYTES / (dims.max(1) * NUMBER_BYTES);
    if texts <= most {
        return Ok(());
    }
    Err(invalid(format!(
        "`input` has {texts} texts, but at most {most} vectors of {dims} numbers fit a result; ask for them in parts"
    )))
}

fn pooling_of(pooling: Pooling) -> engine::Pooling {
    match pooling {
        Pooling::Mean => engine::Pooling::Mean,
        Pooling::First => engine::Pooling::First,
        Pooling::Last => engine::Pooling::Last,
    }
}

/// To length 1; the vector of nothing but zeros stays.
pub fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        for number in vector {
            *number /= length;
        }
    }
}

fn timings(collected: &Collected, finished: &Finished, arrived: Instant) -> Timings {
    let prefill = Duration::from_micros(finished.prefill_us);
    Timings {
        queue_ms: ms(collected.queue),
        load_ms: ms(collected.load),
        prefill_ms: ms(prefill),
        total_ms: ms(arrived.elapsed()),
        prefill_tokens_per_s: rate(finished.prompt_tokens, prefill),
        ..Timings::default()
    }
}

#[cfg(test)]
#[path = "embedding_tests.rs"]
mod tests;
