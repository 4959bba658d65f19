//! The provider that is this daemon's own engine.

use std::path::PathBuf;
use std::sync::Arc;

use engine::SequenceId;
use jsonrpsee::core::async_trait;
use protocol::providers::MLX;
use protocol::{
    Availability, EmbeddingsRequest, EmbeddingsResult, ErrorData, KeyStatus, ModelId, ModelType, ProviderCapabilities,
    ProviderId, ProviderKind, Unavailable,
};

use super::{Provider, Stream};
use crate::error::internal;
use crate::generation::{Asked, Generation};
use crate::library::Library;

/// Answers by an engine process.
#[derive(Debug)]
pub struct Local {
    generation: Arc<Generation>,
    library: Arc<Library>,
    /// Program of the engine.
    engine: PathBuf,
}

impl Local {
    /// The engine of `generation`, with the models of `library`.
    pub fn new(generation: Arc<Generation>, library: Arc<Library>, engine: PathBuf) -> Self {
        Self { generation, library, engine }
    }

    fn availability(&self) -> Availability {
        if self.engine.is_file() {
            return Availability { is_available: true, reason: None, message: None };
        }
        let words = format!(
            "the engine's program {} is not there; install it, or name it with --engine",
            self.engine.display()
        );
        let reason = Some(Unavailable::NotSupportedHere);
        Availability { is_available: false, reason, message: Some(words) }
    }
}

#[async_trait]
impl Provider for Local {
    fn id(&self) -> ProviderId {
        MLX.into()
    }

    fn describe(&self) -> protocol::Provider {
        protocol::Provider {
            id: self.id(),
            name: "MLX".into(),
            kind: ProviderKind::Mlx,
            place: ModelType::Local,
            availability: self.availability(),
            capabilities: ProviderCapabilities {
                stream: true,
                schema: true,
                tools: true,
                embeddings: true,
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
        Ok(looked.models.iter().filter(|model| model.is_installed).map(|model| model.id.clone()).collect())
    }

    async fn start(&self, sequence: SequenceId, mut asked: Asked, model: Option<ModelId>) -> Result<Stream, ErrorData> {
        asked.request.model = model;
        let answer = self.generation.start(sequence, asked).await?;
        let events = futures_util::stream::unfold(answer, |mut answer| async {
            let event = answer.next().await?;
            Some((event, answer))
        });
        Ok(Box::pin(events))
    }

    async fn embed(
        &self,
        sequence: SequenceId,
        mut request: EmbeddingsRequest,
        model: Option<ModelId>,
    ) -> Result<EmbeddingsResult, ErrorData> {
        request.model = model;
        self.generation.embed(sequence, request).await
    }
}
