//! `providers.*`: who answers.

use jsonrpsee::core::{RpcResult, async_trait};
use protocol::rpc::ProvidersServer;
use protocol::{ConfigureProvider, Provider, ProviderList, ProviderRef, ProviderTest, RemovedProvider};

use super::{Rpc, error};

#[async_trait]
impl ProvidersServer for Rpc {
    async fn list(&self) -> RpcResult<ProviderList> {
        self.0.registry.list().await.map_err(error)
    }

    async fn get(&self, request: ProviderRef) -> RpcResult<Provider> {
        self.0.registry.get(&request.provider).await.map_err(error)
    }

    async fn configure(&self, request: ConfigureProvider) -> RpcResult<Provider> {
        self.0.registry.configure(request).await.map_err(error)
    }

    async fn remove(&self, request: ProviderRef) -> RpcResult<RemovedProvider> {
        let removed = self.0.registry.remove(&request.provider).await.map_err(error)?;
        Ok(RemovedProvider { removed })
    }

    async fn test(&self, request: ProviderRef) -> RpcResult<ProviderTest> {
        self.0.registry.test(&request.provider).await.map_err(error)
    }
}
