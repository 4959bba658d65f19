//! `usage.get`.

use jsonrpsee::core::{RpcResult, async_trait};
use protocol::rpc::UsageServer;
use protocol::{GetUsage, UsageReport};

use super::{Rpc, error};

#[async_trait]
impl UsageServer for Rpc {
    async fn get(&self, request: GetUsage) -> RpcResult<UsageReport> {
        self.0.usage.get(request).await.map_err(error)
    }
}
