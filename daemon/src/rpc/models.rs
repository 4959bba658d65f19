//! `models.*`: models on disk and in memory. Those about files are carried out in `files`.

use std::sync::Arc;

use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait};
use protocol::rpc::ModelsServer;
use protocol::{
    Catalogue, DeleteModel, Deleted, ErrorData, ImportModel, Kind, LoadModel, Model, ModelId, ModelList, ModelRef,
    Storage, SubscribeModels, Unloaded, Verified,
};

use super::{Rpc, error};
use crate::error::internal;
use crate::local::LocalModel;
use crate::scheduler::ResidentSnapshot;

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

    async fn catalogue(&self) -> RpcResult<Catalogue> {
        self.known().await.map_err(error)
    }

    async fn follow(&self, pending: PendingSubscriptionSink, request: SubscribeModels) -> SubscriptionResult {
        let sink = pending.accept().await?;
        self.send_models(request.after, &sink).await;
        Ok(())
    }

    async fn import(&self, request: ImportModel) -> RpcResult<Model> {
        self.import_model(request).await.map_err(error)
    }

    async fn delete(&self, request: DeleteModel) -> RpcResult<Deleted> {
        self.delete_model(request).await.map_err(error)
    }

    async fn verify(&self, request: ModelRef) -> RpcResult<Verified> {
        self.verify_model(request.model).await.map_err(error)
    }

    async fn storage(&self) -> RpcResult<Storage> {
        self.stored().await.map_err(error)
    }
}

impl Rpc {
    /// The library's models, with what the scheduler knows of each.
    pub(super) async fn models(&self) -> Result<Vec<Model>, ErrorData> {
        let library = Arc::clone(&self.0.library);
        let found = tokio::task::spawn_blocking(move || library.snapshot()).await;
        let mut models = found.map_err(|_| internal("looking at the library panicked"))?.models.clone();
        self.0.registry.name_engines(&mut models).await?;
        for ResidentSnapshot { model: local, residency, .. } in self.0.scheduler.snapshot().await?.residents {
            let place = models.iter().position(|model| model.id.folder() == local.id.folder());
            let place = place.unwrap_or_else(|| {
                models.push(gone(&local));
                models.len() - 1
            });
            models[place].id = local.id.clone();
            models[place].provider = local.backend.into();
            models[place].is_loaded = true;
            models[place].residency = Some(residency);
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
        self.0.registry.warm(&request.model, request.keep_alive).await?;
        self.model(&request.model).await
    }

    /// An installed model that is not in memory is no error, an unknown one is.
    async fn unload_model(&self, id: ModelId) -> Result<bool, ErrorData> {
        let unloaded = self.0.generation.unload(&id).await?;
        if !unloaded {
            self.model(&id).await?;
        }
        Ok(unloaded)
    }
}

/// A model whose files are gone, as an engine still holds it.
fn gone(local: &LocalModel) -> Model {
    let words = "its files are gone; it serves on until it is unloaded";
    crate::library::gone(local.id.clone(), local.path.clone(), local.capabilities.clone(), words.into())
}
