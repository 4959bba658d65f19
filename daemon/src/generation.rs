//! One request from its parameters to its stream: which model, which tokens, then the scheduler.

mod conversation;
mod format;
mod tools;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use engine::{Sampling, SequenceId, Submission};
use protocol::{ErrorData, GenerateRequest, GenerationOptions, Kind, ModelId, Reasoning, RequestId};

use crate::error::{internal, invalid};
use crate::library::Library;
use crate::local::{LocalModel, LocalModels};
use crate::scheduler::{Job, Scheduler};
use crate::stream::{Answer, Counters, Head, Reader};
use crate::text::{Chat, Prompt, Reading, TextModel};

/// Longest `trace_id`, in bytes.
const LONGEST_TRACE_ID: usize = 128;

/// Seeds are below this, so that every language's JSON keeps them.
const SEEDS: u64 = 1 << 53;

/// Turns requests into answers.
#[derive(Debug)]
pub struct Generation {
    scheduler: Scheduler,
    library: Arc<Library>,
    models: LocalModels,
    counters: Arc<Counters>,
    /// Sets the request ids of this daemon apart from those of earlier ones.
    boot: u64,
    next: AtomicU64,
}

impl Generation {
    /// Requests run by `scheduler` on models of `library`.
    pub fn new(scheduler: Scheduler, library: Arc<Library>) -> Self {
        Self {
            scheduler,
            library,
            models: LocalModels::default(),
            counters: Arc::default(),
            boot: random() & 0xff_ffff,
            next: AtomicU64::new(1),
        }
    }

    /// Requests ended so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Checks a request and gives it to the scheduler. Dropping the answer cancels it.
    pub async fn start(&self, request: GenerateRequest) -> Result<Answer, ErrorData> {
        let arrived = Instant::now();
        check(&request)?;
        let grammar = format::grammar(&request).await?;
        let mut chat = tools::chat(&request, conversation::checked(&request)?).await?;
        let model = self.model(request.model.as_ref()).await?;
        let text = self.text(&model, &request).await?;
        if grammar.is_some() && text.has_switch() {
            // A format describes the whole answer, and so leaves no room to reason.
            chat.reasoning = Reasoning::Off;
        }
        let options = request.options;
        let Prompt { tokens: prompt, reading, grammar: calls } = encode(Arc::clone(&text), chat).await?;
        check_context(&model.id, &text, prompt.len(), options.max_tokens)?;
        let reading = if grammar.is_some() { Reading::default() } else { reading };
        let grammar = grammar.or(calls);
        let sequence = SequenceId(self.next.fetch_add(1, Ordering::Relaxed));
        let seed = options.seed.unwrap_or_else(|| random() % SEEDS);
        let submission = Submission {
            sequence,
            prompt,
            max_tokens: options.max_tokens,
            stop_tokens: text.stop_tokens().to_vec(),
            sampling: sampling(&options, seed),
            grammar,
        };
        let head = Head {
            sequence,
            request_id: self.request_id(sequence),
            trace_id: request.trace_id.clone(),
            model: model.id.clone(),
            prompt_tokens: submission.prompt.len() as u32,
            seed,
            arrived,
        };
        let job = Job { model, submission, keep_alive: request.keep_alive, trace_id: request.trace_id, arrived };
        let updates = self.scheduler.submit(job).await?;
        let reader = Reader::new(text, reading, options.stop_sequences);
        Ok(Answer::new(head, reader, updates, self.scheduler.clone(), Arc::clone(&self.counters)))
    }

    /// Ends a request; false when it had ended or never was.
    pub async fn cancel(&self, id: &RequestId) -> Result<bool, ErrorData> {
        let prefix = format!("req_{:06x}_", self.boot);
        match id.0.strip_prefix(&prefix).and_then(|number| number.parse().ok()) {
            Some(number) => self.scheduler.cancel(SequenceId(number)).await,
            None => Ok(false),
        }
    }

    /// The wire's name of a sequence.
    pub fn request_id(&self, sequence: SequenceId) -> RequestId {
        RequestId(format!("req_{:06x}_{}", self.boot, sequence.0))
    }

    /// The model of that id, or the obvious one.
    pub async fn model(&self, id: Option<&ModelId>) -> Result<Arc<LocalModel>, ErrorData> {
        let id = match id {
            Some(id) => id.clone(),
            None => self.obvious().await?,
        };
        if let Some(model) = self.models.in_use(&id) {
            return Ok(model);
        }
        let library = Arc::clone(&self.library);
        let wanted = id.clone();
        let found = tokio::task::spawn_blocking(move || library.find(&wanted)).await;
        let found = found.map_err(|_| internal(format!("looking for {id} panicked")))??;
        Ok(self.models.share(&id, found.ready()?.to_path_buf()))
    }

    /// The one resident model, else the one installed.
    async fn obvious(&self) -> Result<ModelId, ErrorData> {
        let residents = self.scheduler.snapshot().await?.residents;
        if let [(id, _)] = residents.as_slice() {
            return Ok(id.clone());
        }
        let library = Arc::clone(&self.library);
        let installed = tokio::task::spawn_blocking(move || library.scan()).await;
        let installed = installed.map_err(|_| internal("looking at the library panicked"))?;
        let mut whole: Vec<ModelId> =
            installed.into_iter().filter(|model| model.is_installed).map(|model| model.id).collect();
        match whole.len() {
            1 => Ok(whole.remove(0)),
            0 => Err(ErrorData::new(Kind::ModelNotFound, "no model is installed; import one with models.import")),
            _ => {
                let names: Vec<&str> = whole.iter().take(8).map(|id| id.0.as_str()).collect();
                Err(invalid(format!("several models are installed; name one of them in `model`: {}", names.join(", "))))
            }
        }
    }

    /// The text side of a model. While it is read for the first time, the engine loads the weights.
    async fn text(&self, model: &Arc<LocalModel>, request: &GenerateRequest) -> Result<Arc<TextModel>, ErrorData> {
        if model.has_text() {
            return model.text().await;
        }
        self.scheduler.warm(Arc::clone(model), request.keep_alive).await?;
        let text = model.text().await;
        if text.is_err() {
            // Without its text side the model is of no use; it may be in use by nobody, or be gone already.
            let _ = self.scheduler.unload(model.id.clone()).await;
        }
        text
    }
}

/// Refuses what no model can help.
fn check(request: &GenerateRequest) -> Result<(), ErrorData> {
    if request.trace_id.as_ref().is_some_and(|id| id.len() > LONGEST_TRACE_ID) {
        return Err(invalid(format!("trace_id is longer than {LONGEST_TRACE_ID} bytes")));
    }
    request.options.problem().map_or(Ok(()), |problem| Err(invalid(problem)))
}

/// Renders and encodes off the event loop: a long conversation takes milliseconds.
async fn encode(text: Arc<TextModel>, chat: Chat) -> Result<Prompt, ErrorData> {
    let encoded = tokio::task::spawn_blocking(move || text.prompt(chat)).await;
    Ok(encoded.map_err(|_| internal("encoding the prompt panicked"))??)
}

fn check_context(id: &ModelId, text: &TextModel, prompt: usize, max_tokens: u32) -> Result<(), ErrorData> {
    let Some(context) = text.context_length().map(u64::from) else { return Ok(()) };
    let needed = prompt as u64 + u64::from(max_tokens);
    if needed <= context {
        return Ok(());
    }
    let mut error = ErrorData::new(
        Kind::ContextOverflow,
        format!(
            "the prompt has {prompt} tokens and options.max_tokens is {max_tokens}: {needed} together, but {id} holds \
             {context}; shorten the prompt or lower max_tokens"
        ),
    );
    error.needed_tokens = Some(needed);
    error.context_length = Some(context);
    Err(error)
}

fn sampling(options: &GenerationOptions, seed: u64) -> Sampling {
    Sampling {
        temperature: options.temperature,
        top_p: options.top_p,
        min_p: options.min_p,
        top_k: options.top_k,
        repetition_penalty: options.repetition_penalty,
        presence_penalty: options.presence_penalty,
        frequency_penalty: options.frequency_penalty,
        logit_bias: options.logit_bias.iter().map(|(token, bias)| (*token, *bias)).collect(),
        seed,
    }
}

/// A number that nobody can foresee from outside; good enough for seeds and names, not for secrets.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
#[path = "generation_tests.rs"]
mod tests;
