//! Requests by their numbers: what they are called on the wire, how many ended, and those that run elsewhere than in an
//! engine, which the scheduler does not know.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::SequenceId;
use protocol::{EmbeddingsResult, ErrorData, FinishReason, ModelId, Priority, ProviderId, RequestId};
use tokio_util::sync::CancellationToken;

use crate::metrics::{Counters, Ended, Outcome, Times};

/// Every request of this daemon.
#[derive(Debug)]
pub struct Requests {
    /// Sets the request ids of this daemon apart from those of earlier ones.
    boot: u64,
    next: AtomicU64,
    /// With an answer, cancelled ones included.
    finished: AtomicU64,
    /// With an error.
    failed: AtomicU64,
    remote: Mutex<BTreeMap<u64, Arc<Remote>>>,
    counters: Counters,
}

/// A request that runs on a server.
#[derive(Debug)]
pub struct Remote {
    /// Its number.
    pub sequence: SequenceId,
    /// The caller's name for it.
    pub trace_id: Option<String>,
    /// Who answers.
    pub model: ModelId,
    /// On whose server.
    pub provider: ProviderId,
    /// The name of the app that asks.
    pub app: String,
    /// As it was asked for; a server does not know of it.
    pub priority: Priority,
    /// When it came.
    pub arrived: Instant,
    /// Pieces that came so far: about one for each token.
    pub pieces: AtomicU32,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// Holds a request in the list as long as it lives.
#[derive(Debug)]
pub struct Listed {
    /// What is listed.
    pub remote: Arc<Remote>,
    requests: Arc<Requests>,
}

/// A request for vectors that has not ended; one that is dropped so is counted as abandoned.
#[derive(Debug)]
pub struct Open<'a>(Option<&'a Requests>);

impl Default for Requests {
    fn default() -> Self {
        Self::new(Counters::default())
    }
}

impl Requests {
    /// None yet; how they end is counted there.
    pub fn new(counters: Counters) -> Self {
        Self {
            boot: random() & 0xff_ffff,
            next: AtomicU64::new(1),
            finished: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            remote: Mutex::default(),
            counters,
        }
    }

    /// The next request's number.
    pub fn number(&self) -> SequenceId {
        SequenceId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The wire's name of a number.
    pub fn id(&self, sequence: SequenceId) -> RequestId {
        RequestId(format!("req_{:06x}_{}", self.boot, sequence.0))
    }

    /// The number that the wire calls so; `None` for what is no request of this daemon.
    pub fn sequence(&self, id: &RequestId) -> Option<SequenceId> {
        let prefix = format!("req_{:06x}_", self.boot);
        id.0.strip_prefix(&prefix)?.parse().ok().map(SequenceId)
    }

    /// Counts one that was taken and has ended.
    pub fn end(&self, ended: Ended) {
        match ended.outcome {
            Outcome::Finished(_) => drop(self.finished.fetch_add(1, Ordering::Relaxed)),
            Outcome::Failed(_) => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
            Outcome::Abandoned => {}
        }
        self.counters.request(ended);
    }

    /// Counts one that was not taken, by whom where somebody was asked. Its model is not told: it need not exist.
    pub fn refuse(&self, provider: Option<ProviderId>, error: &ErrorData) {
        self.counters.request(Ended::new(None, provider, Outcome::Failed(error.kind)));
    }

    /// Begins to wait for the end of a request for vectors.
    pub fn open(&self) -> Open<'_> {
        Open(Some(self))
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many were answered, and how many failed.
    pub fn ended(&self) -> (u64, u64) {
        (self.finished.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Lists a request that runs on a server.
    pub fn list(self: &Arc<Self>, remote: Remote) -> Listed {
        let remote = Arc::new(remote);
        self.remote().insert(remote.sequence.0, Arc::clone(&remote));
        Listed { remote, requests: Arc::clone(self) }
    }

    /// Those that run on servers, oldest first.
    pub fn listed(&self) -> Vec<Arc<Remote>> {
        self.remote().values().cloned().collect()
    }

    /// Ends a request that runs on a server; false when none does.
    pub fn cancel(&self, sequence: SequenceId) -> bool {
        let listed = self.remote().get(&sequence.0).cloned();
        listed.inspect(|remote| remote.cancel.cancel()).is_some()
    }

    /// Held for one lookup at a time; a panic elsewhere cannot leave the map half changed.
    fn remote(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Remote>>> {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open<'_> {
    /// Counts its end.
    pub fn end(mut self, made: &Result<EmbeddingsResult, ErrorData>) {
        let Some(requests) = self.0.take() else { return };
        match made {
            Ok(made) => requests.end(embedded(made)),
            Err(error) => requests.end(Ended::new(None, None, Outcome::Failed(error.kind))),
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(requests) = self.0.take() {
            requests.end(Ended::new(None, None, Outcome::Abandoned));
        }
    }
}

/// Vectors that were made, as an answer that came to its end.
fn embedded(made: &EmbeddingsResult) -> Ended {
    let time = |ms: f64| Duration::try_from_secs_f64(ms / 1e3).ok();
    let (timings, engine) = (&made.timings, made.provider.clone());
    Ended {
        prompt_tokens: made.prompt_tokens,
        times: Times {
            queue: time(timings.queue_ms).filter(|_| engine.is_engine()),
            load: time(timings.load_ms),
            total: time(timings.total_ms),
            ..Times::default()
        },
        ..Ended::new(Some(made.model.clone()), Some(engine), Outcome::Finished(FinishReason::Stop))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.requests.remote().remove(&self.remote.sequence.0);
    }
}

/// A number that nobody can foresee from outside; good enough for seeds and names, not for secrets.
pub fn random() -> u64 {
    RandomState::new().hash_one(())
}
