//! The providers that are servers: what their clients say becomes the events of an answer.

mod check;
mod pieces;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cloud::{Client, Endpoint, Patience};
use engine::SequenceId;
use jsonrpsee::core::async_trait;
use protocol::{
    Availability, EmbeddingsRequest, EmbeddingsResult, ErrorData, KeyStatus, Kind, ModelId, ModelType,
    ProviderCapabilities, ProviderId, ProviderKind, Timings, Unavailable,
};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::keys::{Keys, variables};
use super::settings::{self, is_loopback};
use super::{Provider, Stream};
use crate::app::App;
use crate::error::invalid;
use crate::generation::Asked;
use crate::generation::embedding::normalize;
use crate::requests::{Remote, Requests};
use crate::stream::ms;

/// A server that answers.
#[derive(Debug)]
pub struct Server {
    id: ProviderId,
    settings: settings::Server,
    key: KeyStatus,
    availability: Availability,
    /// `None` where it cannot be asked, so that nothing ever is.
    client: Option<Client>,
    requests: Arc<Requests>,
    last: Mutex<Last>,
}

/// What came of asking it last. Held to read or replace it alone.
#[derive(Debug, Default)]
struct Last {
    models: Option<Vec<ModelId>>,
    /// Why it did not answer.
    unreachable: Option<String>,
}

impl Server {
    /// A server as it is set, with its key.
    pub fn new(
        id: ProviderId,
        settings: settings::Server,
        keys: &Keys,
        local_only: bool,
        requests: &Arc<Requests>,
    ) -> Self {
        let found = keys.find(&id, settings.kind);
        let (key, status, problem) = match found {
            Ok(Some(found)) => (Some(found.key), found.from, None),
            Ok(None) if needs_key(&settings) => (None, KeyStatus::Missing, Some(missing(&id, settings.kind))),
            Ok(None) => (None, KeyStatus::NotNeeded, None),
            Err(error) => (None, KeyStatus::Missing, Some(error.message)),
        };
        let is_local = is_loopback(&settings.base_url);
        let availability = if local_only && !is_local {
            let words = format!("local_only is set, so nothing is sent to {id}: what is asked stays on this machine");
            unavailable(Unavailable::NotAllowed, words)
        } else if let Some(problem) = problem {
            unavailable(Unavailable::NotConfigured, problem)
        } else {
            Availability { is_available: true, reason: None, message: None }
        };
        let client = availability.is_available.then(|| client(&settings, key, is_local)).transpose();
        let (client, availability) = match client {
            Ok(client) => (client, availability),
            Err(error) => (None, unavailable(Unavailable::NotConfigured, format!("{id}: {error}"))),
        };
        Self { id, settings, key: status, availability, client, requests: Arc::clone(requests), last: Mutex::default() }
    }

    fn client(&self) -> Result<&Client, ErrorData> {
        self.client.as_ref().ok_or_else(|| {
            let kind = match self.availability.reason {
                Some(Unavailable::NotAllowed) => Kind::NotAllowed,
                _ => Kind::NotConfigured,
            };
            ErrorData::new(kind, self.availability.message.clone().unwrap_or_default())
        })
    }

    /// Keeps in mind whether it answered, and says it in the daemon's words.
    fn heard<T>(&self, answered: Result<T, cloud::Error>) -> Result<T, ErrorData> {
        let unreachable = match &answered {
            Err(error @ (cloud::Error::Unreachable(_) | cloud::Error::Stalled(_))) => Some(error.to_string()),
            _ => None,
        };
        self.last().unreachable = unreachable;
        answered.map_err(|error| pieces::error(&self.id, &error))
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, sequence: SequenceId, asked: Asked, model: Option<ModelId>) -> Result<Stream, ErrorData> {
        let client = self.client()?;
        let model = self.model(model)?;
        let call = pieces::call(&model, &asked);
        let listed = self.requests.list(Remote {
            sequence,
            trace_id: asked.request.trace_id.clone(),
            model,
            provider: self.id.clone(),
            app: asked.claim.app.name.clone(),
            priority: asked.claim.priority,
            arrived: asked.arrived,
            pieces: 0.into(),
            cancel: CancellationToken::new(),
        });
        let started = tokio::select! {
            started = client.generate(&call) => self.heard(started)?,
            () = listed.remote.cancel.cancelled() => return Err(cancelled()),
            () = pieces::over(asked.arrived, asked.claim.deadline) => return Err(pieces::overdue(&self.id)),
        };
        Ok(pieces::events(started, listed, &asked, Arc::clone(&self.requests)))
    }

    fn model(&self, named: Option<ModelId>) -> Result<ModelId, ErrorData> {
        named.or_else(|| self.settings.default_model.clone()).ok_or_else(|| {
            let id = &self.id;
            invalid(format!("{id} has no default model; name one of its models in `model`, or set its `default_model`"))
        })
    }
}

#[async_trait]
impl Provider for Server {
    fn id(&self) -> ProviderId {
        self.id.clone()
    }

    fn describe(&self) -> protocol::Provider {
        let last = self.last();
        let availability = match &last.unreachable {
            Some(why) if self.availability.is_available => unavailable(Unavailable::Unreachable, why.clone()),
            _ => self.availability.clone(),
        };
        protocol::Provider {
            id: self.id.clone(),
            name: self.settings.name.clone(),
            kind: self.settings.kind,
            place: if is_loopback(&self.settings.base_url) { ModelType::Local } else { ModelType::Cloud },
            availability,
            capabilities: ProviderCapabilities {
                stream: true,
                schema: true,
                tools: true,
                embeddings: true,
                logprobs: false,
            },
            key: self.key,
            base_url: Some(self.settings.base_url.clone()),
            default_model: self.settings.default_model.clone(),
            models: None,
        }
    }

    fn known_models(&self) -> Option<Vec<ModelId>> {
        self.last().models.clone()
    }

    async fn models(&self) -> Result<Vec<ModelId>, ErrorData> {
        let mut models: Vec<ModelId> = self.heard(self.client()?.models().await)?.into_iter().map(ModelId).collect();
        models.sort();
        self.last().models = Some(models.clone());
        Ok(models)
    }

    async fn start(&self, sequence: SequenceId, asked: Asked, model: Option<ModelId>) -> Result<Stream, ErrorData> {
        let begun = self.begin(sequence, asked, model).await;
        begun.inspect_err(|error| self.requests.refuse(Some(self.id.clone()), error))
    }

    async fn embed(
        &self,
        sequence: SequenceId,
        request: EmbeddingsRequest,
        model: Option<ModelId>,
        app: App,
    ) -> Result<EmbeddingsResult, ErrorData> {
        let (client, began) = (self.client()?, Instant::now());
        let model = self.model(model)?;
        if request.pooling.is_some() {
            return Err(ErrorData::new(
                Kind::NotSupported,
                format!("{} chooses the pooling itself; leave `pooling` out", self.id),
            ));
        }
        let listed = self.requests.list(Remote {
            sequence,
            trace_id: request.trace_id.clone(),
            model: model.clone(),
            provider: self.id.clone(),
            app: app.name,
            priority: request.priority,
            arrived: began,
            pieces: 0.into(),
            cancel: CancellationToken::new(),
        });
        let deadline = request.deadline_ms.map(Duration::from_millis);
        let made = tokio::select! {
            made = client.embed(&model.0, &request.input) => self.heard(made)?,
            () = listed.remote.cancel.cancelled() => return Err(cancelled()),
            () = pieces::over(began, deadline) => return Err(pieces::overdue(&self.id)),
        };
        let mut embeddings = made.vectors;
        if request.normalize {
            for vector in &mut embeddings {
                normalize(vector);
            }
        }
        Ok(EmbeddingsResult {
            request_id: self.requests.id(sequence),
            trace_id: request.trace_id,
            model,
            provider: self.id.clone(),
            embeddings,
            prompt_tokens: made.prompt_tokens,
            timings: Timings { total_ms: ms(began.elapsed()), ..Timings::default() },
        })
    }
}

fn cancelled() -> ErrorData {
    ErrorData::new(Kind::Cancelled, "the request was cancelled before it had an answer")
}

fn client(settings: &settings::Server, key: Option<SecretString>, is_local: bool) -> Result<Client, cloud::Error> {
    let endpoint = Endpoint {
        base_url: settings.base_url.clone(),
        key,
        headers: settings.headers.clone().into_iter().collect(),
        is_local,
        patience: Patience::default(),
    };
    match settings.kind {
        ProviderKind::Gemini => Client::gemini(endpoint),
        ProviderKind::Openai | ProviderKind::Mlx | ProviderKind::Candle => Client::openai(endpoint),
    }
}

/// Whether a server is known to answer nobody without a key. Others say so themselves.
fn needs_key(settings: &settings::Server) -> bool {
    let is_openai = || settings.base_url.starts_with("https://api.openai.com/");
    settings.kind == ProviderKind::Gemini || is_openai()
}

fn missing(id: &ProviderId, kind: ProviderKind) -> String {
    let variable = variables(id, kind).pop().unwrap_or_default();
    format!("{id} has no key: `talkiectl providers set-key {id}` keeps one, or start the daemon with {variable}")
}

fn unavailable(reason: Unavailable, message: String) -> Availability {
    Availability { is_available: false, reason: Some(reason), message: Some(message) }
}
