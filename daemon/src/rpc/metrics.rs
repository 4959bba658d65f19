//! `daemon.metrics`: what was counted, and what is so at the moment it is asked for.

use protocol::{ErrorData, Metrics, ResidentMetrics};

use super::Rpc;
use super::daemon::version;
use crate::scheduler::ResidentSnapshot;

impl Rpc {
    /// Reads everything that is counted or measured.
    pub(super) async fn measure(&self) -> Result<Metrics, ErrorData> {
        let parts = &self.0;
        let residents = parts.scheduler.snapshot().await?.residents;
        Ok(Metrics {
            version: version(),
            uptime_ms: parts.started.elapsed().as_millis() as u64,
            memory_bytes: crate::telemetry::memory_bytes(),
            connections: parts.connections.open(),
            server_requests: parts.requests.listed().len() as u32,
            residents: residents.into_iter().map(resident).collect(),
            ..parts.requests.counters().read()
        })
    }
}

fn resident(ResidentSnapshot { model, residency, memory }: ResidentSnapshot) -> ResidentMetrics {
    ResidentMetrics {
        model: model.id.clone(),
        engine: model.backend.into(),
        state: residency.state,
        active_bytes: memory.active_bytes,
        peak_bytes: memory.peak_bytes,
        cache_bytes: memory.cache_bytes,
        prefix_bytes: memory.prefix_bytes,
        running: residency.running,
        waiting: residency.waiting,
    }
}
