//! `daemon.hello`, `daemon.ping`, `daemon.status`, `daemon.metrics`, `daemon.config`, `daemon.reload`, `daemon.shutdown`, `rpc.discover`.

use std::sync::atomic::Ordering;
use std::time::Instant;

use jsonrpsee::core::{RpcResult, async_trait};
use protocol::rpc::{DaemonServer, DiscoverServer};
use protocol::{
    Configuration, ErrorData, Hello, Metrics, OLDEST_PROTOCOL, PROTOCOL_VERSION, Pong, Reloaded, RequestState,
    RequestStatus, Status, Welcome,
};

use super::{Rpc, error};
use crate::requests::Remote;
use crate::scheduler::{RequestSnapshot, Snapshot, Stage};

#[async_trait]
impl DaemonServer for Rpc {
    async fn hello(&self, request: Hello) -> RpcResult<Welcome> {
        let welcome = Welcome {
            version: version(),
            protocol: PROTOCOL_VERSION,
            oldest_protocol: OLDEST_PROTOCOL,
            pid: std::process::id(),
        };
        if !welcome.speaks(request.protocol) {
            // The client is told enough to say it to its user; here it explains what is missing in the log otherwise.
            let client = request.client.as_deref().unwrap_or("unnamed");
            tracing::warn!(?client, protocol = request.protocol, "a client speaks another version of the wire");
        }
        Ok(welcome)
    }

    async fn ping(&self) -> RpcResult<Pong> {
        Ok(Pong { version: version(), protocol: PROTOCOL_VERSION, pid: std::process::id() })
    }

    async fn status(&self) -> RpcResult<Status> {
        self.describe().await.map_err(error)
    }

    async fn metrics(&self) -> RpcResult<Metrics> {
        self.measure().await.map_err(error)
    }

    async fn config(&self) -> RpcResult<Configuration> {
        self.0.reload.describe().await.map_err(error)
    }

    async fn reload(&self) -> RpcResult<Reloaded> {
        self.0.reload.reload().await.map_err(error)
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
        let Snapshot { requests: local, memory, lost, .. } = parts.scheduler.snapshot().await?;
        let local = local.into_iter().map(|request| self.request(request, now));
        let mut requests: Vec<RequestStatus> = local.collect();
        requests.extend(parts.requests.listed().iter().map(|remote| self.remote(remote, now)));
        requests.sort_by_key(|request| std::cmp::Reverse(request.age_ms));
        let (finished, failed) = parts.requests.ended();
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
            requests,
            memory,
            lost,
            finished,
            failed,
            preload: parts.preloads.list(),
        })
    }

    fn request(&self, request: RequestSnapshot, now: Instant) -> RequestStatus {
        let (position, completion_tokens) = match request.stage {
            Stage::Waiting(position) => (Some(position), 0),
            Stage::Running(tokens) | Stage::Paused(tokens) => (None, tokens),
        };
        RequestStatus {
            request_id: self.0.requests.id(request.sequence),
            trace_id: request.trace_id,
            model: request.model,
            provider: request.backend.into(),
            app: request.app,
            priority: request.priority,
            state: match request.stage {
                Stage::Waiting(_) => RequestState::Waiting,
                Stage::Running(0) | Stage::Paused(0) => RequestState::Prefill,
                Stage::Running(_) | Stage::Paused(_) => RequestState::Decode,
            },
            position,
            paused: matches!(request.stage, Stage::Paused(_)),
            age_ms: now.saturating_duration_since(request.arrived).as_millis() as u64,
            completion_tokens,
        }
    }

    fn remote(&self, remote: &Remote, now: Instant) -> RequestStatus {
        let pieces = remote.pieces.load(Ordering::Relaxed);
        RequestStatus {
            request_id: self.0.requests.id(remote.sequence),
            trace_id: remote.trace_id.clone(),
            model: remote.model.clone(),
            provider: remote.provider.clone(),
            app: remote.app.clone(),
            priority: remote.priority,
            state: if pieces == 0 { RequestState::Prefill } else { RequestState::Decode },
            position: None,
            paused: false,
            age_ms: now.saturating_duration_since(remote.arrived).as_millis() as u64,
            completion_tokens: pieces,
        }
    }
}

pub(super) fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}
