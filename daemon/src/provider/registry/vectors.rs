//! Requests for vectors: whom they mean, and how they end.

use protocol::{Capability, EmbeddingsRequest, EmbeddingsResult, ErrorData, ProviderId};

use super::super::resolve::{Candidate, Wanted};
use super::Registry;
use crate::app::App;
use crate::backend::Backend;
use crate::error::internal;
use crate::generation::embedding;
use crate::usage::Used;

impl Registry {
    /// Makes vectors of texts. Nobody else is asked in place of the one who is meant: vectors of different models do not
    /// compare.
    pub async fn embed(&self, request: EmbeddingsRequest, app: App) -> Result<EmbeddingsResult, ErrorData> {
        let open = self.requests.open();
        let made = self.vectors(request, app.clone()).await;
        open.end(&made);
        let made = made?;
        self.usage.count(Used {
            provider: made.provider.clone(),
            model: made.model.clone(),
            app: app.name,
            prompt_tokens: made.prompt_tokens,
            completion_tokens: 0,
        });
        Ok(made)
    }

    async fn vectors(&self, request: EmbeddingsRequest, app: App) -> Result<EmbeddingsResult, ErrorData> {
        embedding::check(&request)?;
        let loaded = self.loaded().await?;
        let here = ProviderId::from(Backend::Mlx);
        let provider = request.provider.as_ref().or(request.model.is_none().then_some(&here));
        let wanted = Wanted { provider, model: request.model.as_ref(), tier: None, fallback: false };
        let plan = self.plan(&loaded, wanted, Capability::Embed).await?;
        let Some(Candidate { provider, model }) = plan.candidates.into_iter().next() else {
            return Err(internal("a plan has no candidate"));
        };
        let Some(provider) = loaded.provider(&provider) else { return Err(internal("a provider went away")) };
        provider.embed(self.requests.number(), request, model, app).await
    }
}
