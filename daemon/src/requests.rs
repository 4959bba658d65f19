//! Requests by their numbers: what they are called on the wire, how many ended, and those that run elsewhere than in an
//! engine, which the scheduler does not know.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use engine::SequenceId;
use protocol::{ModelId, Priority, ProviderId, RequestId};
use tokio_util::sync::CancellationToken;

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

impl Default for Requests {
    fn default() -> Self {
        Self {
            boot: random() & 0xff_ffff,
            next: AtomicU64::new(1),
            finished: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            remote: Mutex::default(),
        }
    }
}

impl Requests {
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

    /// Counts an answer.
    pub fn finish(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an error.
    pub fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
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

impl Drop for Listed {
    fn drop(&mut self) {
        self.requests.remote().remove(&self.remote.sequence.0);
    }
}

/// A number that nobody can foresee from outside; good enough for seeds and names, not for secrets.
pub fn random() -> u64 {
    RandomState::new().hash_one(())
}
