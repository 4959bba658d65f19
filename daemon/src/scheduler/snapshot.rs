//! All residents and requests at one moment, for status and lists.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use engine::SequenceId;
use protocol::{LostEngine, MemoryStatus, ModelId, Priority, Residency as ResidencyStatus, ResidencyState};

use super::residency::Residency;
use super::resident::{EngineId, Job, Phase, Resident};
use super::running::Running;
use crate::backend::Backend;
use crate::local::LocalModel;

/// All residents and requests at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Models in memory, by id.
    pub residents: Vec<ResidentSnapshot>,
    /// Requests that wait or run, in the order of their arrival.
    pub requests: Vec<RequestSnapshot>,
    /// Memory that models take.
    pub memory: MemoryStatus,
    /// Engines that ended by themselves.
    pub lost: Vec<LostEngine>,
}

/// One model in memory at one moment.
#[derive(Debug, Clone)]
pub struct ResidentSnapshot {
    /// Which.
    pub model: Arc<LocalModel>,
    /// How it is held.
    pub residency: ResidencyStatus,
    /// What its engine said of its memory last.
    pub memory: engine::Memory,
}

/// One request at one moment.
#[derive(Debug, Clone)]
pub struct RequestSnapshot {
    /// Which.
    pub sequence: SequenceId,
    /// Its model.
    pub model: ModelId,
    /// What runs it.
    pub backend: Backend,
    /// The caller's name for it.
    pub trace_id: Option<String>,
    /// The name of the app that asks.
    pub app: String,
    /// How urgent it was when it came.
    pub priority: Priority,
    /// When it came.
    pub arrived: Instant,
    /// How far it is.
    pub stage: Stage,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits, and so many others that wait go before it as things stand.
    Waiting(u32),
    /// It runs, with so many tokens so far.
    Running(u32),
    /// It is paused, with so many tokens so far.
    Paused(u32),
}

impl Snapshot {
    /// Of a residency whose engines are these processes.
    pub(super) fn of(residency: &Residency, pid: impl Fn(EngineId) -> Option<u32>, now: Instant) -> Self {
        let (memory, lost) = (residency.memory(), residency.lost(now));
        let mut snapshot = Self { memory, lost, ..Self::default() };
        for resident in residency.residents() {
            let residency = status(resident, pid(resident.engine), now);
            snapshot.residents.push(ResidentSnapshot {
                model: Arc::clone(&resident.model),
                residency,
                memory: resident.memory,
            });
            let order = resident.waiting.order(&resident.rows(), now);
            let places: HashMap<SequenceId, u32> = order.into_iter().zip(0..).collect();
            let running = resident.running.iter().map(|running| RequestSnapshot::running(resident, running));
            let waiting = resident.waiting.iter().map(|job| {
                let place = places.get(&job.work.sequence()).copied().unwrap_or_default();
                RequestSnapshot::waiting(job, place)
            });
            snapshot.requests.extend(running.chain(waiting));
        }
        snapshot.requests.sort_by_key(|request| request.sequence);
        snapshot
    }
}

impl RequestSnapshot {
    fn running(resident: &Resident, running: &Running) -> Self {
        let stage = if running.paused.is_some() { Stage::Paused } else { Stage::Running };
        Self {
            sequence: running.sequence,
            model: resident.model.id.clone(),
            backend: resident.model.backend,
            trace_id: running.trace_id.clone(),
            app: running.app.name.clone(),
            priority: running.priority,
            arrived: running.arrived,
            stage: stage(running.tokens),
        }
    }

    fn waiting(job: &Job, place: u32) -> Self {
        Self {
            sequence: job.work.sequence(),
            model: job.model.id.clone(),
            backend: job.model.backend,
            trace_id: job.trace_id.clone(),
            app: job.claim.app.name.clone(),
            priority: job.claim.priority,
            arrived: job.arrived,
            stage: Stage::Waiting(place),
        }
    }
}

fn status(resident: &Resident, pid: Option<u32>, now: Instant) -> ResidencyStatus {
    let (done, total) = resident.progress;
    let state = match resident.phase {
        Phase::Loading => ResidencyState::Loading,
        Phase::Unloading => ResidencyState::Unloading,
        Phase::Ready if resident.running.is_empty() => ResidencyState::Idle,
        Phase::Ready => ResidencyState::Busy,
    };
    let paused = resident.running.iter().filter(|running| running.paused.is_some()).count();
    let (draft_model, draft_problem) = resident.draft();
    ResidencyStatus {
        state,
        loaded_share: match resident.phase {
            Phase::Loading if total == 0 => 0.0,
            Phase::Loading => done as f64 / total as f64,
            Phase::Ready | Phase::Unloading => 1.0,
        },
        pid,
        device: resident.loaded.as_ref().map(|loaded| loaded.device.clone()),
        draft_model: draft_model.cloned(),
        draft_problem,
        memory_bytes: resident.memory.active_bytes,
        running: (resident.running.len() - paused) as u32,
        paused: paused as u32,
        waiting: resident.waiting.len() as u32,
        keep_alive: resident.keep_alive,
        expires_in_ms: resident.expires_at().map(|at| at.saturating_duration_since(now).as_millis() as u64),
    }
}
