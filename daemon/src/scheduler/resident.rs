//! The nouns of the scheduler: requests as they wait, models in memory, and what is told about both. Requests that run are
//! in `running`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Command, FinishReason, Finished, KvBits, Loaded, Logprobs, Memory, Needs, SequenceId, TokenId, Work};
use protocol::{ErrorData, KeepAlive, ModelChange, ModelId, Priority, UnloadReason};

use super::queue::{Queue, Rows, aged};
use super::running::Running;
use crate::app::App;
use crate::backend::Backend;
use crate::local::{Draft, LocalModel};

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
    /// Rows that an engine runs at once; a request takes one for each of its samples.
    pub batch: u32,
    /// How long a model stays when no request says otherwise.
    pub keep_alive: KeepAlive,
    /// Bytes that all models together may take; `None` for what the device recommends, or else this machine.
    pub memory: Option<u64>,
    /// What this machine recommends where no device does; 0 for nothing.
    pub machine: u64,
    /// Bytes of kept prefixes of one model.
    pub prefixes: u64,
    /// How long an engine with work may be silent before it counts as hanging.
    pub silence: Duration,
}

/// How a request stands among others.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who asks.
    pub app: App,
    /// How urgent it is when it comes.
    pub priority: Priority,
    /// How long it waits at most.
    pub queue_timeout: Option<Duration>,
    /// When it is to be over, from its arrival on.
    pub deadline: Option<Duration>,
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
    /// How it stands among others.
    pub claim: Claim,
}

impl Job {
    /// Rows that it takes of an engine's batch.
    pub fn rows(&self) -> u32 {
        match &self.work {
            Work::Generate(submission) => submission.samples,
            Work::Embed(_) => 1,
        }
    }

    /// Tokens that are kept of it when it starts, and when it has grown as far as it may, of all samples together.
    pub fn tokens(&self) -> (u64, u64) {
        match &self.work {
            Work::Generate(submission) => {
                let (prompt, samples) = (submission.prompt.len() as u64, u64::from(submission.samples));
                (prompt * samples, (prompt + u64::from(submission.max_tokens)) * samples)
            }
            // One text after the other.
            Work::Embed(embedding) => {
                let longest = embedding.inputs.iter().map(Vec::len).max().unwrap_or_default() as u64;
                (longest, longest)
            }
        }
    }

    /// In how few bits its keys and values are kept, if so.
    pub fn kv_bits(&self) -> Option<KvBits> {
        match &self.work {
            Work::Generate(submission) => submission.kv_bits,
            Work::Embed(_) => None,
        }
    }

    /// How urgent it is by now.
    pub fn level(&self, now: Instant) -> Priority {
        aged(self.claim.priority, now.saturating_duration_since(self.arrived))
    }

    /// When it is to be over.
    pub fn deadline(&self) -> Option<Instant> {
        self.claim.deadline.map(|time| self.arrived + time)
    }

    /// Until when it waits.
    pub fn ends_at(&self) -> Option<Instant> {
        let given_up = self.claim.queue_timeout.map(|time| self.arrived + time);
        given_up.into_iter().chain(self.deadline()).min()
    }
}

/// What happens to a request, in order; nothing follows the last three.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// So many others that wait go before it. Again when it is fewer.
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
    /// Its deadline was over when it had begun to answer, and the engine has ended what had not ended by itself.
    Cut(Finished),
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
    /// Kills it, since it hangs; the words say how long.
    Kill(EngineId, String),
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

/// A wish for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing is wanted, or what is wanted is not known yet.
    None,
    /// More is wanted than there is, since then.
    Since(Instant),
    /// It has what it needs.
    Granted,
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
    /// What it said that it needs, once it did.
    pub(super) needs: Option<Needs>,
    /// How far its wish for memory is.
    pub(super) wish: Wish,
    /// Whether it was told to give back what it keeps, and has not said yet what that was.
    pub(super) trimming: bool,
    /// Whether it begins nothing until another model has found room.
    pub(super) yields: bool,
    /// When it gave its last sign of life, or got its first work after having none; `None` while it is being killed.
    pub(super) sign: Option<Instant>,
    /// What it said last.
    pub memory: Memory,
    /// What it has begun, paused ones too, in the order of their beginning.
    pub running: Vec<Running>,
    /// What is to run on it.
    pub waiting: Queue,
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
            needs: None,
            wish: Wish::None,
            trimming: false,
            yields: false,
            sign: Some(now),
            memory: Memory::default(),
            running: Vec::new(),
            waiting: Queue::default(),
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

    /// Rows that run, by app: what is paused takes none.
    pub fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        for running in self.running.iter().filter(|running| running.paused.is_none()) {
            *rows.entry(running.app.source).or_default() += running.rows;
        }
        rows
    }

    /// What it has begun of that name.
    pub(super) fn running_mut(&mut self, sequence: SequenceId) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.sequence == sequence)
    }

    /// Until when it must give a sign of life; `None` while it has nothing to do.
    pub(super) fn overdue_at(&self, silence: Duration) -> Option<Instant> {
        let works = match self.phase {
            // A model that waits for room does nothing.
            Phase::Loading => !matches!(self.wish, Wish::Since(_)),
            Phase::Ready => self.trimming || self.running.iter().any(|running| running.paused.is_none()),
            // Who does not end by itself is killed by whoever asked.
            Phase::Unloading => false,
        };
        self.sign.filter(|_| works).map(|sign| sign + silence)
    }

    /// Wants no more memory where what wanted it waits no longer.
    pub(super) fn forget_wish(&mut self) {
        if self.phase == Phase::Ready && self.waiting.is_empty() && matches!(self.wish, Wish::Since(_)) {
            self.wish = Wish::None;
        }
    }

    /// Takes a sign of life, or begins to wait for one.
    pub(super) fn signs(&mut self, now: Instant) {
        self.sign = self.sign.map(|sign| sign.max(now));
    }

    /// Bytes that so many tokens of a request take, of all its rows together. Layers with a window keep the last of each row,
    /// and as they are.
    pub(super) fn kept_bytes(&self, tokens: u64, rows: u32, bits: Option<KvBits>) -> u64 {
        let Some(loaded) = &self.loaded else { return 0 };
        let in_windows = tokens.min(u64::from(rows) * u64::from(loaded.window_tokens));
        in_bits(tokens * loaded.token_bytes, bits) + in_windows * loaded.window_bytes
    }

    /// Whether its engine takes requests: it is there, and not being killed.
    pub(super) fn takes_work(&self) -> bool {
        self.phase == Phase::Ready && self.sign.is_some()
    }

    /// Whether it waits for memory that somebody needs.
    pub(super) fn waits_for_memory(&self) -> Option<Instant> {
        match self.wish {
            Wish::Since(since) if !self.is_idle() => Some(since),
            _ => None,
        }
    }

    /// Whether nobody needs it.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.tickets.is_empty()
    }

    /// The draft that it has, or will have once it is loaded; else why it has not the one that is named.
    pub fn draft(&self) -> (Option<&ModelId>, Option<String>) {
        let Some(Draft { id, path }) = &self.model.draft else { return (None, None) };
        let refused = self.loaded.as_ref().and_then(|loaded| loaded.draft_refused.as_ref());
        match path.as_ref().err().or(refused) {
            None => (Some(id), None),
            Some(why) => (None, Some(format!("{id}: {why}"))),
        }
    }

    /// When it is to be unloaded; `None` while it is in use or stays forever.
    pub fn expires_at(&self) -> Option<Instant> {
        match self.keep_alive {
            KeepAlive::For(time) if self.phase == Phase::Ready && self.is_idle() => Some(self.idle_since + time),
            _ => None,
        }
    }
}

/// Packed keys and values have a scale and a bias of 16 bits for each group of 64 numbers, so half a bit more than they say.
fn in_bits(bytes: u64, bits: Option<KvBits>) -> u64 {
    match bits {
        Some(KvBits::Four) => bytes * 9 / 32,
        Some(KvBits::Eight) => bytes * 17 / 32,
        None => bytes,
    }
}
