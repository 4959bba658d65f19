//! The nouns of the scheduler: requests as they wait, models in memory, and what is told about both.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Command, FinishReason, Finished, Loaded, Logprobs, Memory, SequenceId, TokenId, Work};
use protocol::{ErrorData, KeepAlive, ModelChange, UnloadReason};

use crate::backend::Backend;
use crate::local::LocalModel;

/// Names one engine process for the life of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineId(pub u64);

/// Names one wish to have a model loaded, or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What the residency may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests that may wait in all; one more is answered `busy`.
    pub waiting: usize,
    /// How long a model stays when no request says otherwise.
    pub keep_alive: KeepAlive,
}

/// A request as it waits.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its model.
    pub model: Arc<LocalModel>,
    /// What the engine is to do; its sequence names the request everywhere.
    pub work: Work,
    /// How long the model stays afterwards.
    pub keep_alive: Option<KeepAlive>,
    /// The caller's name for it.
    pub trace_id: Option<String>,
    /// When it came.
    pub arrived: Instant,
}

/// What happens to a request, in order; nothing follows the last two.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// It waits behind so many others.
    Queued(u32),
    /// Its model is being loaded.
    Loading {
        /// Bytes in memory.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// The engine has it.
    Started {
        /// Waited for the load.
        load: Duration,
        /// Waited for other requests.
        queue: Duration,
    },
    /// The next token of a sample, and its log-probabilities where they are asked for.
    Token(u32, TokenId, Option<Logprobs>),
    /// One of its several samples ended.
    Ended(u32, FinishReason),
    /// The vector of its next text.
    Vector(Vec<f32>),
    /// It ended as asked.
    Finished(Finished),
    /// It failed.
    Failed(ErrorData),
}

/// What the loop is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Starts an engine process.
    Spawn(EngineId, Backend),
    /// Sends it a command.
    Send(EngineId, Command),
    /// Asks it to end, and kills it when it does not.
    Retire(EngineId),
    /// Tells a request.
    Update(SequenceId, Update),
    /// Tells those who follow what happens to models.
    Tell(ModelChange),
    /// Answers a wish to load, or to have a model gone.
    Answer(Ticket, Result<(), ErrorData>),
}

/// What an engine process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reads its weights.
    Loading,
    /// Takes submissions.
    Ready,
    /// Was told to end; what waits is for its successor.
    Unloading,
}

/// The request an engine works on.
#[derive(Debug)]
pub struct Running {
    /// Which.
    pub sequence: SequenceId,
    /// Tokens so far.
    pub tokens: u32,
    /// The caller's name for it.
    pub trace_id: Option<String>,
    /// When it came.
    pub arrived: Instant,
}

/// One model in memory.
#[derive(Debug)]
pub struct Resident {
    /// Which model.
    pub model: Arc<LocalModel>,
    /// Its process.
    pub engine: EngineId,
    /// What it is doing.
    pub phase: Phase,
    /// Share of the weights in memory: bytes done, bytes in all.
    pub progress: (u64, u64),
    /// What it said when it was ready.
    pub loaded: Option<Loaded>,
    /// What it said last.
    pub memory: Memory,
    /// At work.
    pub running: Option<Running>,
    /// In the order they are to run.
    pub waiting: VecDeque<Job>,
    /// How long it stays without work.
    pub keep_alive: KeepAlive,
    /// Whether a request asked for that, and not the configuration.
    pub(super) is_stay_asked: bool,
    /// Since when it could have been loaded and took submissions.
    pub(super) ready_at: Instant,
    /// Since when it has nothing to do; meaningful only then.
    pub(super) idle_since: Instant,
    /// Whom to tell when it is ready.
    pub(super) tickets: Vec<Ticket>,
    /// Why it was told to go, once it was.
    pub(super) leaving: Option<(UnloadReason, Option<ErrorData>)>,
}

impl Resident {
    /// A model whose engine is about to be started.
    pub(super) fn new(model: Arc<LocalModel>, engine: EngineId, keep_alive: KeepAlive, now: Instant) -> Self {
        Self {
            model,
            engine,
            phase: Phase::Loading,
            progress: (0, 0),
            loaded: None,
            memory: Memory::default(),
            running: None,
            waiting: VecDeque::new(),
            keep_alive,
            is_stay_asked: false,
            ready_at: now,
            idle_since: now,
            tickets: Vec::new(),
            leaving: None,
        }
    }

    /// Stays as long as a request asks for, if it does.
    pub(super) fn ask_stay(&mut self, keep_alive: Option<KeepAlive>) {
        if let Some(keep_alive) = keep_alive {
            self.keep_alive = keep_alive;
            self.is_stay_asked = true;
        }
    }

    /// Whether nobody needs it.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty() && self.tickets.is_empty()
    }

    /// When it is to be unloaded; `None` while it is in use or stays forever.
    pub fn expires_at(&self) -> Option<Instant> {
        match self.keep_alive {
            KeepAlive::For(time) if self.phase == Phase::Ready && self.is_idle() => Some(self.idle_since + time),
            _ => None,
        }
    }
}
