//! `models.list`, `models.get`, `models.load`, `models.unload`, `models.import`.

use std::ops::ControlFlow;
use std::sync::Arc;

use jsonrpsee::core::{RpcResult, async_trait};
use protocol::rpc::ModelsServer;
use protocol::{Capability, ErrorData, ImportModel, Kind, LoadModel, Model, ModelId, ModelList, ModelRef, Unloaded};

use tokio_util::sync::CancellationToken;

use super::{Rpc, error};
use crate::error::{internal, invalid};
use crate::library::{Source, import};

#[async_trait]
impl ModelsServer for Rpc {
    async fn list(&self) -> RpcResult<ModelList> {
        Ok(ModelList { models: self.models().await.map_err(error)? })
    }

    async fn get(&self, request: ModelRef) -> RpcResult<Model> {
        self.model(&request.model).await.map_err(error)
    }

    async fn load(&self, request: LoadModel) -> RpcResult<Model> {
        self.load_model(request).await.map_err(error)
    }

    async fn unload(&self, request: ModelRef) -> RpcResult<Unloaded> {
        let unloaded = self.unload_model(request.model).await.map_err(error)?;
        Ok(Unloaded { unloaded })
    }

    async fn import(&self, request: ImportModel) -> RpcResult<Model> {
        self.import_model(request).await.map_err(error)
    }
}

impl Rpc {
    /// The library's models, with what the scheduler knows of each.
    pub(super) async fn models(&self) -> Result<Vec<Model>, ErrorData> {
        let library = Arc::clone(&self.0.library);
        let models = tokio::task::spawn_blocking(move || library.scan()).await;
        let mut models = models.map_err(|_| internal("looking at the library panicked"))?;
        for (id, residency) in self.0.scheduler.snapshot().await?.residents {
            if let Some(model) = models.iter_mut().find(|model| model.id.folder() == id.folder()) {
                model.id = id;
                model.is_loaded = true;
                model.residency = Some(residency);
            }
        }
        Ok(models)
    }

    async fn model(&self, id: &ModelId) -> Result<Model, ErrorData> {
        let models = self.models().await?;
        let model = models.into_iter().find(|model| model.id.folder() == id.folder());
        model.map(|model| Model { id: id.clone(), ..model }).ok_or_else(|| {
            ErrorData::new(Kind::ModelNotFound, format!("{id} is not installed; models.list tells what is"))
        })
    }

    async fn load_model(&self, request: LoadModel) -> Result<Model, ErrorData> {
        let model = self.0.generation.model(Some(&request.model), Capability::Generate).await?;
        self.0.scheduler.load(Arc::clone(&model), request.keep_alive).await?;
        // The first request would wait for the tokenizer too: warm means both.
        model.text().await?;
        self.model(&request.model).await
    }

    /// An installed model that is not in memory is no error, an unknown one is.
    async fn unload_model(&self, id: ModelId) -> Result<bool, ErrorData> {
        let unloaded = self.0.scheduler.unload(id.clone()).await?;
        if !unloaded {
            self.model(&id).await?;
        }
        Ok(unloaded)
    }

    /// Ends with its connection: half a model is of no use to anybody.
    async fn import_model(&self, request: ImportModel) -> Result<Model, ErrorData> {
        if !request.path.is_absolute() {
            let words = format!("path {} is relative, but the daemon's folder is not yours", request.path.display());
            return Err(invalid(words));
        }
        let library = Arc::clone(&self.0.library);
        let source = Source::new(request.path, request.model, self.0.engine.clone());
        let wanted = CancellationToken::new();
        let (watched, _gone) = (wanted.clone(), wanted.drop_guard());
        let imported = tokio::task::spawn_blocking(move || {
            let progress = |_| if watched.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            import(&source, &library, &mut { progress })
        });
        let model = imported.await.map_err(|_| internal("the import panicked"))??;
        tracing::info!(model = %model.id, bytes = model.size, "imported");
        Ok(model)
    }
}
