//! `secrets.*`: what workflows use by name.

use jsonrpsee::core::{RpcResult, async_trait};
use protocol::rpc::SecretsServer;
use protocol::{RemovedSecret, Secret, SecretList, SecretRef, SetSecret};

use super::{Rpc, error};

#[async_trait]
impl SecretsServer for Rpc {
    async fn list(&self) -> RpcResult<SecretList> {
        self.0.registry.secrets().await.map_err(error)
    }

    async fn set(&self, request: SetSecret) -> RpcResult<Secret> {
        self.0.registry.set_secret(request).await.map_err(error)
    }

    async fn remove(&self, request: SecretRef) -> RpcResult<RemovedSecret> {
        self.0.registry.remove_secret(request.name).await.map_err(error)
    }
}
