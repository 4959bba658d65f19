//! Which of this daemon's engines answers, where a request leaves that open.

use protocol::{Capability, ErrorData, KeepAlive, Model, ModelId};

use super::super::resolve::{Candidate, choose};
use super::{Loaded, Registry};
use crate::backend::Backend;

impl Registry {
    /// The model that a request means which names none, and its engine; `None` where no model is obvious.
    pub(super) async fn obvious(&self, loaded: &Loaded, needed: Capability) -> Option<Candidate> {
        let (model, able) = self.generation.obvious(&Backend::ALL, needed).await.ok()?;
        Some(Candidate { provider: self.engine(loaded, &able, needed).await.into(), model: Some(model) })
    }

    /// The engine for a model of the library, where a request does not name it.
    async fn engine_of(&self, model: &ModelId) -> Result<Backend, ErrorData> {
        let loaded = self.loaded().await?;
        let able = self.generation.engines(model).await.unwrap_or_default();
        Ok(self.engine(&loaded, &able, Capability::Generate).await)
    }

    /// Loads a model of the library, and answers when it is warm.
    pub async fn warm(&self, model: &ModelId, keep_alive: Option<KeepAlive>) -> Result<(), ErrorData> {
        let backend = self.engine_of(model).await?;
        self.generation.load(model, backend, keep_alive).await
    }

    /// Fills in which engine runs each model, where a request does not name it.
    pub async fn name_engines(&self, models: &mut [Model]) -> Result<(), ErrorData> {
        let loaded = self.loaded().await?;
        for model in models {
            let able: Vec<Backend> = model.backends.iter().filter_map(Backend::of).collect();
            let needed = model.capabilities.first().copied().unwrap_or(Capability::Generate);
            model.provider = self.engine(&loaded, &able, needed).await.into();
        }
        Ok(())
    }

    /// Of the engines that can run a model the preferred one that is here.
    pub(super) async fn engine(&self, loaded: &Loaded, able: &[Backend], needed: Capability) -> Backend {
        let preferred = match loaded.settings.engines() {
            Some(ordered) => ordered,
            None => self.programs.preferred().await,
        };
        choose(able, preferred, needed, |backend| self.programs.has(backend))
    }
}
