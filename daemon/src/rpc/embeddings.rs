//! `embeddings.create`.

use jsonrpsee::Extensions;
use jsonrpsee::core::{RpcResult, async_trait};
use protocol::rpc::EmbeddingsServer;
use protocol::{EmbeddingsRequest, EmbeddingsResult};

use super::{Rpc, app, error};

#[async_trait]
impl EmbeddingsServer for Rpc {
    async fn create(&self, from: &Extensions, request: EmbeddingsRequest) -> RpcResult<EmbeddingsResult> {
        let app = app(request.app.as_deref(), from).await;
        self.0.registry.embed(request, app).await.map_err(error)
    }
}
