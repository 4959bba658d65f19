//! What `models.*` does to files: imports, deletions, what they take.

use std::ops::ControlFlow;
use std::sync::Arc;

use protocol::{Catalogue, DeleteModel, Deleted, ErrorData, ImportModel, Model, ModelId, Storage, Verified};
use tokio_util::sync::CancellationToken;

use super::Rpc;
use crate::error::{internal, invalid};
use crate::library::{Library, Quantize, Source, catalogue, import};
use crate::memory;

/// Weights that share a scale where nobody says how many: as mlx-lm.
const DEFAULT_GROUP: u32 = 64;

impl Rpc {
    /// Ends with its connection: half a model is of no use to anybody.
    pub(super) async fn import_model(&self, request: ImportModel) -> Result<Model, ErrorData> {
        if !request.path.is_absolute() {
            let words = format!("path {} is relative, but the daemon's folder is not yours", request.path.display());
            return Err(invalid(words));
        }
        let quantize = match (request.bits, request.group_size) {
            (Some(bits), group_size) => Some(Quantize { bits, group_size: group_size.unwrap_or(DEFAULT_GROUP) }),
            (None, Some(_)) => return Err(invalid("group_size says how weights are packed, which needs bits too")),
            (None, None) => None,
        };
        let engine = self.0.engine.clone();
        let source = Source { path: request.path, id: request.model, copy: request.copy, quantize, engine };
        let wanted = CancellationToken::new();
        let (watched, _gone) = (wanted.clone(), wanted.drop_guard());
        let imported = self.with_library("the import", move |library| {
            let progress = |_| if watched.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let imported = import(&source, library, &mut { progress });
            library.look();
            imported
        });
        let model = imported.await??;
        tracing::info!(model = %model.id, bytes = model.size, "imported");
        Ok(model)
    }

    /// Waiting for a model to be free ends with the connection; removing its files does not.
    pub(super) async fn delete_model(&self, request: DeleteModel) -> Result<Deleted, ErrorData> {
        let id = request.model.clone();
        let wanted = request.model.clone();
        self.with_library("looking for the model", move |library| library.find(&wanted).map(drop)).await??;
        let closed = self.0.scheduler.close(request.model, request.force).await?;
        let model = id.clone();
        let removed = self.with_library("deleting the model", move |library| {
            let freed = library.remove(&model);
            drop(closed);
            freed
        });
        let freed_bytes = removed.await??;
        tracing::info!(model = %id, freed_bytes, "deleted");
        Ok(Deleted { model: id, freed_bytes })
    }

    /// The user's file is read anew, so that it can be edited while the daemon runs.
    pub(super) async fn known(&self) -> Result<Catalogue, ErrorData> {
        let home = self.0.home.clone();
        self.with_library("reading the catalogue", move |library| {
            let snapshot = library.snapshot();
            let is_installed = |id: &ModelId| {
                snapshot.models.iter().any(|model| model.is_installed && model.id.folder() == id.folder())
            };
            catalogue(&home, memory::for_models(), is_installed)
        })
        .await
    }

    /// Ends with its connection.
    pub(super) async fn verify_model(&self, id: ModelId) -> Result<Verified, ErrorData> {
        let wanted = CancellationToken::new();
        let (watched, _gone) = (wanted.clone(), wanted.drop_guard());
        let verify = move |library: &Library| library.verify(&id, || !watched.is_cancelled());
        Ok(self.with_library("verifying the model", verify).await??)
    }

    pub(super) async fn stored(&self) -> Result<Storage, ErrorData> {
        Ok(self.with_library("looking at the disk", Library::storage).await??)
    }

    /// Works on the library where that may block.
    pub(super) async fn with_library<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Library) -> T + Send + 'static,
    ) -> Result<T, ErrorData> {
        let library = Arc::clone(&self.0.library);
        let done = tokio::task::spawn_blocking(move || work(&library)).await;
        done.map_err(|_| internal(format!("{what} panicked")))
    }
}
