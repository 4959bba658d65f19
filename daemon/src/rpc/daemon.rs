//! `daemon.ping`, `daemon.status`, `daemon.shutdown`, `rpc.discover`.

use std::sync::atomic::Ordering;
use std::time::Instant;

use jsonrpsee::core::{RpcResult, async_trait};
use protocol::rpc::{DaemonServer, DiscoverServer};
use protocol::{ErrorData, PROTOCOL_VERSION, Pong, RequestState, RequestStatus, Status};

use super::{Rpc, error};
use crate::scheduler::RequestSnapshot;

#[async_trait]
impl DaemonServer for Rpc {
    async fn ping(&self) -> RpcResult<Pong> {
        Ok(Pong { version: version(), protocol: PROTOCOL_VERSION, pid: std::process::id() })
    }

    async fn status(&self) -> RpcResult<Status> {
        self.describe().await.map_err(error)
    }

    async fn shutdown(&self) -> RpcResult<()> {
        tracing::info!("asked to end");
        self.0.stop.cancel();
        Ok(())
    }
}

#[async_trait]
impl DiscoverServer for Rpc {
    async fn discover(&self) -> RpcResult<serde_json::Value> {
        Ok(protocol::openrpc::document())
    }
}

impl Rpc {
    async fn describe(&self) -> Result<Status, ErrorData> {
        let parts = &self.0;
        let now = Instant::now();
        let residents = self.models().await?.into_iter().filter(|model| model.is_loaded).collect();
        let requests = parts.scheduler.snapshot().await?.requests;
        Ok(Status {
            version: version(),
            protocol: PROTOCOL_VERSION,
            pid: std::process::id(),
            uptime_ms: parts.started.elapsed().as_millis() as u64,
            socket: parts.socket.clone(),
            models_dir: parts.library.root.clone(),
            connections: parts.connections.open(),
            memory_bytes: crate::telemetry::memory_bytes(),
            residents,
            requests: requests.into_iter().map(|request| self.request(request, now)).collect(),
            finished: parts.generation.counters().finished.load(Ordering::Relaxed),
            failed: parts.generation.counters().failed.load(Ordering::Relaxed),
        })
    }

    fn request(&self, request: RequestSnapshot, now: Instant) -> RequestStatus {
        RequestStatus {
            request_id: self.0.generation.request_id(request.sequence),
            trace_id: request.trace_id,
            model: request.model,
            state: match request.tokens {
                None => RequestState::Waiting,
                Some(0) => RequestState::Prefill,
                Some(_) => RequestState::Decode,
            },
            age_ms: now.saturating_duration_since(request.arrived).as_millis() as u64,
            completion_tokens: request.tokens.unwrap_or_default(),
        }
    }
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}
