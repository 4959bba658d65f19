//! The scheduler: one task that owns every engine process and every request on its way to one.
//!
//! [`Scheduler`] is the handle that the rest of the daemon clones; the loop behind it takes one [`Message`] at a
//! time, lets [`residency`] decide about [`resident`]s, and carries the effects out without waiting for any of them. Tokens go
//! past it, from engines to `listeners`.

mod backoff;
pub mod budget;
mod failure;
mod listeners;
mod pace;
pub mod queue;
pub mod residency;
pub mod resident;
mod run;
mod running;
mod snapshot;

use std::sync::{Arc, Weak};
use std::time::Duration;

use engine::SequenceId;
use protocol::{ErrorData, Force, KeepAlive, ModelId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use failure::shutting_down;
pub use resident::{Claim, EngineId, Job, Limits, Update};
pub use snapshot::{RequestSnapshot, ResidentSnapshot, Snapshot, Stage};

use crate::backend::Programs;
use crate::crash::Reports;
use crate::events::Events;
use crate::local::LocalModel;
use crate::memory::Source;
use crate::process::Report;

/// Messages that may wait for the loop; senders wait when it is full.
const MESSAGES: usize = 1024;

/// What the scheduler is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The engines.
    pub programs: Arc<Programs>,
    /// Bounds of queue and stay.
    pub limits: Limits,
    /// How long running requests may take once the daemon is to end.
    pub drain: Duration,
    /// Where it says which models come and go.
    pub events: Events,
    /// Where the end of an engine by a signal is reported.
    pub reports: Reports,
    /// Who tells whether memory runs short.
    pub pressure: Source,
}

/// Everything the loop can be told.
#[derive(Debug)]
pub enum Message {
    /// A request with the channel of its updates.
    Submit(Box<Job>, mpsc::Sender<Update>),
    /// Begin to load a model that a request is about to need.
    Warm(Arc<LocalModel>, Option<KeepAlive>),
    /// Load a model; answered when it is ready or cannot be.
    Load(Arc<LocalModel>, Option<KeepAlive>, oneshot::Sender<Result<(), ErrorData>>),
    /// Give a model's memory back.
    Unload(ModelId, oneshot::Sender<Result<bool, ErrorData>>),
    /// Take nothing more of a model as long as somebody holds on to that; answered when no engine holds the model.
    Close(ModelId, Option<Force>, Weak<()>, oneshot::Sender<Result<(), ErrorData>>),
    /// End a request.
    Cancel(SequenceId, oneshot::Sender<bool>),
    /// End one sample of a request; nobody waits for it.
    End(SequenceId, u32),
    /// From now on with these bounds, and so long for running requests at the end.
    Limits(Limits, Duration),
    /// Describe all of it.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Show that the loop takes messages.
    Beat(oneshot::Sender<()>),
    /// An engine reports.
    Engine(EngineId, Report),
}

/// A model that no engine holds and none takes until this is dropped.
#[derive(Debug)]
pub struct Closed {
    _hold: Arc<()>,
}

/// A handle on the scheduler; its loop ends when `stop` is called or all handles are gone.
#[derive(Debug, Clone)]
pub struct Scheduler {
    messages: mpsc::Sender<Message>,
}

impl Scheduler {
    /// Starts the loop. It ends after `stop` is cancelled and its requests are done or out of time.
    pub fn start(settings: Settings, stop: tokio_util::sync::CancellationToken) -> (Self, JoinHandle<()>) {
        let (messages, receiver) = mpsc::channel(MESSAGES);
        let task = tokio::spawn(run::Loop::new(settings, messages.clone(), stop).run(receiver));
        (Self { messages }, task)
    }

    /// A handle on a loop that a test plays.
    #[cfg(test)]
    pub fn played(messages: mpsc::Sender<Message>) -> Self {
        Self { messages }
    }

    /// Takes a request. Its updates come through the receiver; dropping that cancels it.
    pub async fn submit(&self, job: Job) -> Result<mpsc::Receiver<Update>, ErrorData> {
        // Room for every result: a client that reads slowly never stalls the engine.
        let (sender, receiver) = mpsc::channel(job.work.results() + FIXED_UPDATES + PROGRESS_UPDATES);
        self.messages.send(Message::Submit(Box::new(job), sender)).await.map_err(|_| shutting_down())?;
        Ok(receiver)
    }

    /// Loads a model and waits until it is ready.
    pub async fn load(&self, model: Arc<LocalModel>, keep_alive: Option<KeepAlive>) -> Result<(), ErrorData> {
        self.ask(|reply| Message::Load(model, keep_alive, reply)).await?
    }

    /// Begins to load a model and does not wait for it.
    pub async fn warm(&self, model: Arc<LocalModel>, keep_alive: Option<KeepAlive>) -> Result<(), ErrorData> {
        self.messages.send(Message::Warm(model, keep_alive)).await.map_err(|_| shutting_down())
    }

    /// Gives a model's memory back; false when it was not resident.
    pub async fn unload(&self, id: ModelId) -> Result<bool, ErrorData> {
        self.ask(|reply| Message::Unload(id, reply)).await?
    }

    /// Keeps a model out of memory, to delete it. Dropping the future gives that up.
    pub async fn close(&self, id: ModelId, force: Option<Force>) -> Result<Closed, ErrorData> {
        let hold = Arc::new(());
        let watched = Arc::downgrade(&hold);
        self.ask(|reply| Message::Close(id, force, watched, reply)).await??;
        Ok(Closed { _hold: hold })
    }

    /// Ends a request; false when there is none.
    pub async fn cancel(&self, sequence: SequenceId) -> Result<bool, ErrorData> {
        self.ask(|reply| Message::Cancel(sequence, reply)).await
    }

    /// Ends one sample of a request; one that has ended meanwhile is no fault.
    pub async fn end(&self, sequence: SequenceId, sample: u32) -> Result<(), ErrorData> {
        self.messages.send(Message::End(sequence, sample)).await.map_err(|_| shutting_down())
    }

    /// Changes the bounds of queue and stay, and how long running requests may take at the end.
    pub async fn limit(&self, limits: Limits, drain: Duration) -> Result<(), ErrorData> {
        self.messages.send(Message::Limits(limits, drain)).await.map_err(|_| shutting_down())
    }

    /// Describes all residents and requests.
    pub async fn snapshot(&self) -> Result<Snapshot, ErrorData> {
        self.ask(Message::Snapshot).await
    }

    /// Goes through the loop and back; an error when the loop has ended.
    pub async fn beat(&self) -> Result<(), ErrorData> {
        self.ask(Message::Beat).await
    }

    /// Completes when the loop has ended.
    pub async fn ended(&self) {
        self.messages.closed().await;
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, ErrorData> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.map_err(|_| shutting_down())?;
        answer.await.map_err(|_| shutting_down())
    }
}

/// Updates of a request that come once: queued, started, and the last.
const FIXED_UPDATES: usize = 3;

/// Updates on a load and on places in the queue that may wait to be read; more are dropped.
const PROGRESS_UPDATES: usize = 64;
