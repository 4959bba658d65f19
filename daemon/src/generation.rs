//! One request from its parameters to its stream: which model, which tokens, then the scheduler.

mod conversation;
mod draft;
pub mod embedding;
mod format;
mod tools;

use std::sync::Arc;
use std::time::Instant;

use engine::{KvBits, Sampling, SequenceId, Speculation, Submission, Work, Xtc};
use protocol::turn::time_of;
use protocol::{
    Capability, ErrorData, GenerateRequest, GenerationOptions, KeepAlive, Kind, MAX_MESSAGE_BYTES, Model, ModelId,
    Priority, TokenCount,
};
use tokio::sync::watch;

use crate::app::App;
use crate::backend::Backend;
use crate::config::kinds::DraftModels;
use crate::error::{internal, invalid};
use crate::library::{Library, LibraryError};
use crate::local::{Key, LocalModel, LocalModels};
use crate::requests::{Requests, random};
use crate::scheduler::{Claim, Job, Scheduler};
use crate::stream::{Answer, Head, Reader};
use crate::text::{Chat, Prompt, TextModel};
use crate::usage::LONGEST_APP;

/// Longest `trace_id`, in bytes.
const LONGEST_TRACE_ID: usize = 128;

/// What one token with its log-probability needs in a result, generously.
const LOGPROB_BYTES: usize = 100;

/// Seeds are below this, so that every language's JSON keeps them.
const SEEDS: u64 = 1 << 53;

/// Turns requests into answers.
#[derive(Debug)]
pub struct Generation {
    scheduler: Scheduler,
    library: Arc<Library>,
    models: LocalModels,
    requests: Arc<Requests>,
    drafts: watch::Receiver<DraftModels>,
}

impl Generation {
    /// Requests run by `scheduler` on models of `library`, which have these drafts from their next load on.
    pub fn new(
        scheduler: Scheduler,
        library: Arc<Library>,
        requests: Arc<Requests>,
        drafts: watch::Receiver<DraftModels>,
    ) -> Self {
        Self { scheduler, library, models: LocalModels::default(), requests, drafts }
    }

    /// Gives a request to the scheduler. Dropping the answer cancels it.
    pub async fn start(&self, sequence: SequenceId, asked: Asked, backend: Backend) -> Result<Answer, ErrorData> {
        let begun = self.begin(sequence, asked, backend).await;
        begun.inspect_err(|error| self.requests.refuse(Some(backend.into()), error))
    }

    async fn begin(&self, sequence: SequenceId, asked: Asked, backend: Backend) -> Result<Answer, ErrorData> {
        let Asked { request, chat, arrived, claim } = asked;
        let model = self.able(request.model.as_ref(), backend, Capability::Generate).await?;
        if request.options.speculation == protocol::Speculation::Draft && backend == Backend::Mlx {
            draft::check(&model)?;
        }
        let text = self.text(&model, request.keep_alive).await?;
        let Prompt { tokens: prompt, reading, grammar } = encode(Arc::clone(&text), chat).await?;
        let options = request.options;
        check_context(&model.id, &text, prompt.len(), options.max_tokens)?;
        let seed = options.seed.unwrap_or_else(|| random() % SEEDS);
        let submission = Submission {
            sequence,
            prompt,
            max_tokens: options.max_tokens,
            samples: options.n,
            stop_tokens: text.stop_tokens().to_vec(),
            logprobs: options.logprobs,
            sampling: sampling(&options, seed, &text)?,
            grammar,
            kv_bits: kv_bits(&options),
            speculation: speculation(options.speculation),
        };
        let head = Head {
            sequence,
            request_id: self.requests.id(sequence),
            trace_id: request.trace_id.clone(),
            model: model.id.clone(),
            backend,
            prompt_tokens: submission.prompt.len() as u32,
            seed,
            priority: claim.priority,
            samples: options.n,
            arrived,
        };
        let work = Work::Generate(submission);
        let job = Job { model, work, keep_alive: request.keep_alive, trace_id: request.trace_id, arrived, claim };
        let updates = self.scheduler.submit(job).await?;
        let reader = Reader::new(text, reading, options.stop_sequences);
        Ok(Answer::new(head, &reader, updates, self.scheduler.clone(), Arc::clone(&self.requests)))
    }

    /// Counts the tokens of a request's prompt, with the chat template, without loading the model's weights.
    pub async fn count(&self, asked: Asked, backend: Backend) -> Result<TokenCount, ErrorData> {
        let Asked { request, chat, .. } = asked;
        let model = self.able(request.model.as_ref(), backend, Capability::Generate).await?;
        let text = model.text().await?;
        let prompt = encode(Arc::clone(&text), chat).await?;
        let context_length = text.context_length().map(u64::from);
        Ok(TokenCount { model: model.id.clone(), prompt_tokens: prompt.tokens.len() as u32, context_length })
    }

    /// Ends a request; false when it had ended or never was.
    pub async fn cancel(&self, sequence: SequenceId) -> Result<bool, ErrorData> {
        self.scheduler.cancel(sequence).await
    }

    /// The model of that id for an engine, or the obvious one for what it is `needed` for.
    pub async fn model(
        &self,
        id: Option<&ModelId>,
        backend: Backend,
        needed: Capability,
    ) -> Result<Arc<LocalModel>, ErrorData> {
        let id = match id {
            Some(id) => id.clone(),
            None => self.obvious(&[backend], needed).await?.0,
        };
        let key = Key { id: id.clone(), backend };
        if let Some(model) = self.models.in_use(&key) {
            return Ok(model);
        }
        let library = Arc::clone(&self.library);
        let wanted = id.clone();
        let drafts = self.drafts.borrow().clone();
        let found = tokio::task::spawn_blocking(move || {
            let found = library.find(&wanted)?;
            Ok::<_, LibraryError>((found, draft::named(&drafts, &library, &wanted)))
        });
        let (found, draft) = found.await.map_err(|_| internal(format!("looking for {id} panicked")))??;
        let path = found.ready()?.to_path_buf();
        if !found.model.backends.contains(&backend.into()) {
            return Err(cannot_run(&found.model, backend));
        }
        let engines = engines(&found.model);
        Ok(self.models.share(LocalModel::new(key, path, found.model.capabilities, engines).drafted_by(draft)))
    }

    /// Unloads a model on every engine; whether it was in memory. Its next load finds it as it is then, drafts included.
    pub async fn unload(&self, id: &ModelId) -> Result<bool, ErrorData> {
        let unloaded = self.scheduler.unload(id.clone()).await?;
        if unloaded {
            self.models.forget(id);
        }
        Ok(unloaded)
    }

    /// Loads a model and answers when it is warm.
    pub async fn load(&self, id: &ModelId, backend: Backend, keep_alive: Option<KeepAlive>) -> Result<(), ErrorData> {
        let model = self.model(Some(id), backend, Capability::Generate).await?;
        self.scheduler.load(Arc::clone(&model), keep_alive).await?;
        // The first request would wait for the tokenizer too: warm means both.
        model.text().await.map(drop)
    }

    /// The engines that can run a model, if the library has it.
    pub async fn engines(&self, id: &ModelId) -> Option<Vec<Backend>> {
        // The disk is asked only where no request, and no engine, has done so.
        let keys = Backend::ALL.map(|backend| Key { id: id.clone(), backend });
        if let Some(model) = keys.iter().find_map(|key| self.models.in_use(key)) {
            return Some(model.engines.clone());
        }
        let (library, wanted) = (Arc::clone(&self.library), id.clone());
        let found = tokio::task::spawn_blocking(move || library.find(&wanted).ok()).await.ok()??;
        Some(engines(&found.model))
    }

    /// The same, if it can do it.
    async fn able(
        &self,
        id: Option<&ModelId>,
        backend: Backend,
        needed: Capability,
    ) -> Result<Arc<LocalModel>, ErrorData> {
        let model = self.model(id, backend, needed).await?;
        if model.capabilities.contains(&needed) {
            return Ok(model);
        }
        let words = format!("{} makes vectors of texts, and no text; choose a model with `generate`", model.id);
        Err(ErrorData::new(Kind::NotSupported, words))
    }

    /// The one resident model that can do it on one of these engines, else the one installed; and who can run it.
    pub async fn obvious(&self, wanted: &[Backend], needed: Capability) -> Result<(ModelId, Vec<Backend>), ErrorData> {
        let library = Arc::clone(&self.library);
        let installed = tokio::task::spawn_blocking(move || library.look()).await;
        let installed = installed.map_err(|_| internal("looking at the library panicked"))?;
        let runs = |model: &Model| wanted.iter().any(|backend| model.backends.contains(&(*backend).into()));
        let can = |model: &&Model| model.is_installed && model.capabilities.contains(&needed) && runs(model);
        let able: Vec<&Model> = installed.models.iter().filter(can).collect();
        let residents = self.scheduler.snapshot().await?.residents;
        let of = |id: &ModelId| able.iter().find(|model| model.id.folder() == id.folder());
        let mut resident: Vec<_> = residents.into_iter().map(|resident| resident.model.id.clone()).collect();
        resident.dedup();
        let mut resident = resident.into_iter().filter_map(|id| of(&id).map(|model| (id, engines(model))));
        if let (Some(only), None) = (resident.next(), resident.next()) {
            return Ok(only);
        }
        match able.as_slice() {
            [only] => Ok((only.id.clone(), engines(only))),
            [] => Err(none_installed(needed)),
            _ => {
                let names: Vec<&str> = able.iter().take(8).map(|model| model.id.0.as_str()).collect();
                Err(invalid(format!("several models are installed; name one of them in `model`: {}", names.join(", "))))
            }
        }
    }

    /// The text side of a model. While it is read for the first time, the engine loads the weights.
    async fn text(&self, model: &Arc<LocalModel>, keep_alive: Option<KeepAlive>) -> Result<Arc<TextModel>, ErrorData> {
        if model.has_text() {
            return model.text().await;
        }
        self.scheduler.warm(Arc::clone(model), keep_alive).await?;
        let text = model.text().await;
        if text.is_err() {
            // Without its text side the model is of no use; it may be in use by nobody, or be gone already.
            let _ = self.scheduler.unload(model.id.clone()).await;
        }
        text
    }
}

/// Those that can run a model.
fn engines(model: &Model) -> Vec<Backend> {
    model.backends.iter().filter_map(Backend::of).collect()
}

/// Why an engine does not take a model that another one would.
fn cannot_run(model: &Model, backend: Backend) -> ErrorData {
    let others: Vec<&str> = model.backends.iter().map(|backend| backend.0.as_str()).collect();
    let words = format!(
        "{} is not known to {}'s engine, only to: {}; leave `provider` out",
        model.id,
        backend.name(),
        others.join(", ")
    );
    ErrorData::new(Kind::NotSupported, words)
}

fn none_installed(needed: Capability) -> ErrorData {
    let what = match needed {
        Capability::Generate => "no model that makes text",
        Capability::Embed => "no model",
    };
    ErrorData::new(Kind::ModelNotFound, format!("{what} is installed; import one with models.import"))
}

/// A request that no provider would refuse for what it says, and what it says.
#[derive(Debug, Clone)]
pub struct Asked {
    /// As it came.
    pub request: GenerateRequest,
    /// What is to be answered.
    pub chat: Chat,
    /// When it came.
    pub arrived: Instant,
    /// How it stands among others.
    pub claim: Claim,
}

impl Asked {
    /// Refuses what nobody can answer.
    pub async fn check(request: GenerateRequest, app: App) -> Result<Self, ErrorData> {
        let arrived = Instant::now();
        check_names(request.trace_id.as_deref(), request.app.as_deref())?;
        let claim = claim(app, request.priority, request.queue_timeout_ms, request.deadline_ms)?;
        if let Some(problem) = request.options.problem() {
            return Err(invalid(problem));
        }
        let (messages, format) = (conversation::checked(&request)?, format::grammar(&request).await?);
        let (tools, choice) = (tools::offered(&request).await?, request.tool_choice.clone());
        let (system_prompt, reasoning) = (request.options.system_prompt.clone(), request.reasoning);
        let chat = Chat { messages, system_prompt, tools, choice, reasoning, format };
        Ok(Self { request, chat, arrived, claim })
    }
}

/// That a result with log-probabilities of each token is no longer than a message may be.
pub fn check_size(options: &GenerationOptions) -> Result<(), ErrorData> {
    let Some(top) = options.logprobs else { return Ok(()) };
    let most = MAX_MESSAGE_BYTES / LOGPROB_BYTES / (top as usize + 1) / options.n.max(1) as usize;
    if options.max_tokens as usize <= most {
        return Ok(());
    }
    let (max_tokens, n) = (options.max_tokens, options.n);
    Err(invalid(format!(
        "options.max_tokens is {max_tokens}, but with options.n {n} and options.logprobs {top} at most {most} tokens fit \
         a result; ask with generate.stream, or for fewer"
    )))
}

/// How a request stands among others, as its fields say.
fn claim(
    app: App,
    priority: Priority,
    queue_timeout_ms: Option<u64>,
    deadline_ms: Option<u64>,
) -> Result<Claim, ErrorData> {
    let queue_timeout = time_of("queue_timeout_ms", queue_timeout_ms).map_err(invalid)?;
    let deadline = time_of("deadline_ms", deadline_ms).map_err(invalid)?;
    Ok(Claim { app, priority, queue_timeout, deadline })
}

fn check_names(trace_id: Option<&str>, app: Option<&str>) -> Result<(), ErrorData> {
    for (field, name, most) in [("trace_id", trace_id, LONGEST_TRACE_ID), ("app", app, LONGEST_APP)] {
        if name.is_some_and(|name| name.len() > most) {
            return Err(invalid(format!("{field} is longer than {most} bytes")));
        }
    }
    Ok(())
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

fn sampling(options: &GenerationOptions, seed: u64, text: &TextModel) -> Result<Sampling, ErrorData> {
    Ok(Sampling {
        temperature: options.temperature,
        top_p: options.top_p,
        min_p: options.min_p,
        top_k: options.top_k,
        repetition_penalty: options.repetition_penalty,
        presence_penalty: options.presence_penalty,
        frequency_penalty: options.frequency_penalty,
        xtc: xtc(options, text)?,
        logit_bias: options.logit_bias.iter().map(|(token, bias)| (*token, *bias)).collect(),
        seed,
    })
}

fn kv_bits(options: &GenerationOptions) -> Option<KvBits> {
    options.kv_bits.map(|bits| if bits == 4 { KvBits::Four } else { KvBits::Eight })
}

fn speculation(asked: protocol::Speculation) -> Speculation {
    match asked {
        protocol::Speculation::Auto => Speculation::Auto,
        protocol::Speculation::Off => Speculation::Off,
        protocol::Speculation::Lookup => Speculation::Lookup,
        protocol::Speculation::Draft => Speculation::Draft,
    }
}

/// Spares what ends a line and what ends the answer, as mlx-lm does: neither is a choice of words.
fn xtc(options: &GenerationOptions, text: &TextModel) -> Result<Option<Xtc>, ErrorData> {
    if options.xtc_probability <= 0.0 {
        return Ok(None);
    }
    let mut spared = text.encode_part("\n")?;
    spared.extend(text.stop_tokens());
    Ok(Some(Xtc { probability: options.xtc_probability, threshold: options.xtc_threshold, spared }))
}

#[cfg(test)]
#[path = "generation_tests.rs"]
mod tests;
