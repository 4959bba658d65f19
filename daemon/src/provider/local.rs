//! The providers that are this daemon's own engines.

use std::sync::Arc;

use engine::SequenceId;
use jsonrpsee::core::async_trait;
use protocol::{
    Availability, Capability, EmbeddingsRequest, EmbeddingsResult, ErrorData, KeyStatus, Kind, Model, ModelId,
    ModelType, ProviderCapabilities, ProviderId, ProviderKind, Unavailable,
};

use super::{Provider, Stream};
use crate::app::App;
use crate::backend::{Backend, Programs};
use crate::error::internal;
use crate::generation::{Asked, Generation};
use crate::library::Library;

/// Answers by an engine process.
#[derive(Debug)]
pub struct Local {
    backend: Backend,
    generation: Arc<Generation>,
    library: Arc<Library>,
    programs: Arc<Programs>,
}

impl Local {
    /// An engine of `generation`, with those models of `library` that it can run.
    pub fn new(backend: Backend, generation: Arc<Generation>, library: Arc<Library>, programs: Arc<Programs>) -> Self {
        Self { backend, generation, library, programs }
    }

    fn availability(&self) -> Availability {
        if self.programs.has(self.backend) {
            return Availability { is_available: true, reason: None, message: None };
        }
        let option = match self.backend {
            Backend::Mlx => "--engine",
            Backend::Candle => "--candle",
        };
        let program = self.programs.of(self.backend).display();
        let words = format!("the engine's program {program} is not there; install it, or name it with {option}");
        let reason = Some(Unavailable::NotSupportedHere);
        Availability { is_available: false, reason, message: Some(words) }
    }
}

#[async_trait]
impl Provider for Local {
    fn id(&self) -> ProviderId {
        self.backend.into()
    }

    fn describe(&self) -> protocol::Provider {
        protocol::Provider {
            id: self.id(),
            name: self.backend.name().into(),
            kind: match self.backend {
                Backend::Mlx => ProviderKind::Mlx,
                Backend::Candle => ProviderKind::Candle,
            },
            place: ModelType::Local,
            availability: self.availability(),
            capabilities: ProviderCapabilities {
                stream: true,
                schema: true,
                tools: true,
                embeddings: self.backend.runs(Capability::Embed),
                logprobs: true,
            },
            key: KeyStatus::NotNeeded,
            base_url: None,
            default_model: None,
            models: None,
        }
    }

    fn known_models(&self) -> Option<Vec<ModelId>> {
        None
    }

    async fn models(&self) -> Result<Vec<ModelId>, ErrorData> {
        let library = Arc::clone(&self.library);
        let looked = tokio::task::spawn_blocking(move || library.look()).await;
        let looked = looked.map_err(|_| internal("looking at the library panicked"))?;
        let runs = |model: &&Model| model.is_installed && model.backends.contains(&self.id());
        Ok(looked.models.iter().filter(runs).map(|model| model.id.clone()).collect())
    }

    async fn start(&self, sequence: SequenceId, mut asked: Asked, model: Option<ModelId>) -> Result<Stream, ErrorData> {
        asked.request.model = model;
        Ok(Box::pin(self.generation.start(sequence, asked, self.backend).await?))
    }

    async fn embed(
        &self,
        sequence: SequenceId,
        mut request: EmbeddingsRequest,
        model: Option<ModelId>,
        app: App,
    ) -> Result<EmbeddingsResult, ErrorData> {
        if !self.backend.runs(Capability::Embed) {
            let words = format!("{}'s engine makes no vectors of texts; ask mlx", self.backend.name());
            return Err(ErrorData::new(Kind::NotSupported, words));
        }
        request.model = model;
        self.generation.embed(sequence, request, self.backend, app).await
    }
}
