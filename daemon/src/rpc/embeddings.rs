//! `embeddings.create`.

use jsonrpsee::core::{RpcResult, async_trait};
use protocol::rpc::EmbeddingsServer;
use protocol::{EmbeddingsRequest, EmbeddingsResult};

use super::{Rpc, error};

#[async_trait]
impl EmbeddingsServer for Rpc {
    async fn create(&self, request: EmbeddingsRequest) -> RpcResult<EmbeddingsResult> {
        self.0.registry.embed(request).await.map_err(error)
    }
}
