//! Downloads of models: they belong to the daemon, and go on when their client is gone and after the daemon was killed.
//!
//! [`Pulls`] is the handle; the loop behind it owns the list of downloads and decides which of them run. Each one that
//! runs is a [`job`] on a thread of its own: it asks the [`hub`] what there is, [`plan`]s which files are needed,
//! [`transfer`]s them into its [`store`] with a [`board`] that says who fetches what, and installs them when every hash
//! is right. Nothing else sees an unfinished file.

mod board;
mod error;
mod hub;
mod job;
mod plan;
mod rate;
mod run;
mod store;
mod transfer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::{ErrorData, Kind, ModelId, Pull};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::library::{Disk, Library, PULLS};
pub use error::PullError;
use store::Job;
pub use transfer::Ways;

/// Messages that may wait for the loop; senders wait when it is full.
const MESSAGES: usize = 64;

/// What downloads are made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where models are installed.
    pub root: PathBuf,
    /// The hub's address.
    pub endpoint: String,
    /// How each is fetched.
    pub ways: Ways,
    /// How long a server may send nothing.
    pub patience: Duration,
    /// Bytes per second of all together.
    pub limit: Option<u64>,
    /// Downloads at a time; more wait.
    pub running: usize,
    /// Bytes that are free on the disk of a folder.
    pub free: fn(&Path) -> io::Result<u64>,
}

/// Everything the loop can be told.
#[derive(Debug)]
enum Message {
    Start(ModelId, String, oneshot::Sender<Result<Pull, ErrorData>>),
    List(oneshot::Sender<Vec<Pull>>),
    Get(ModelId, oneshot::Sender<Option<Pull>>),
    Pause(ModelId, oneshot::Sender<Result<Pull, ErrorData>>),
    Resume(ModelId, oneshot::Sender<Result<Pull, ErrorData>>),
    Cancel(ModelId, oneshot::Sender<Result<Pull, ErrorData>>),
    /// So many bytes per second from now on.
    Limit(Option<u64>),
    /// A job ended.
    Ended(ModelId, Result<(), PullError>),
}

/// A handle on the downloads.
#[derive(Debug, Clone)]
pub struct Pulls {
    messages: mpsc::Sender<Message>,
}

impl Settings {
    /// As people want it: eight connections, and five minutes without a byte before a download is given up.
    pub fn new(root: PathBuf, endpoint: String, limit: Option<u64>) -> Self {
        let ways = Ways { connections: 8, give_up: Duration::from_mins(5) };
        Self {
            root,
            endpoint,
            ways,
            patience: Duration::from_secs(30),
            limit,
            running: 2,
            free: |folder| Disk::of(folder).map(|disk| disk.free_bytes),
        }
    }

    /// Where downloads grow.
    fn pulls(&self) -> PathBuf {
        self.root.join(PULLS)
    }

    /// Whether what was planned is there already, whole.
    fn is_installed(&self, job: &Job) -> bool {
        let found = Library::at(self.root.clone()).find(&job.model);
        found.is_ok_and(|entry| entry.ready().is_ok() && entry.model.revision == job.commit)
    }
}

impl Pulls {
    /// Starts the loop, which goes on with what was not done when the daemon last ended.
    pub fn start_loop(
        settings: Settings,
        library: Arc<Library>,
        events: Events,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (messages, receiver) = mpsc::channel(MESSAGES);
        let looped = run::Loop::new(settings, library, events, messages.clone(), stop);
        let task = tokio::spawn(looped.run(receiver));
        (Self { messages }, task)
    }

    /// Begins a download, or joins the one under way.
    pub async fn start(&self, model: ModelId, revision: Option<String>) -> Result<Pull, ErrorData> {
        if !model.is_valid() || !model.0.contains('/') {
            let words = format!("{:?} is no id of a model on the hub, which is `org/name`", model.0);
            return Err(ErrorData::new(Kind::InvalidParams, words));
        }
        let revision = revision.unwrap_or_else(|| "main".into());
        if revision.is_empty() || revision.len() > 256 || revision.chars().any(char::is_control) {
            return Err(ErrorData::new(Kind::InvalidParams, "revision is a branch, a tag or a commit"));
        }
        self.ask(|reply| Message::Start(model, revision, reply)).await?
    }

    /// All that are not over.
    pub async fn list(&self) -> Result<Vec<Pull>, ErrorData> {
        self.ask(Message::List).await
    }

    /// One, also for a while after it is over.
    pub async fn get(&self, model: ModelId) -> Result<Option<Pull>, ErrorData> {
        self.ask(|reply| Message::Get(model, reply)).await
    }

    /// Stops one and keeps what it has.
    pub async fn pause(&self, model: ModelId) -> Result<Pull, ErrorData> {
        self.ask(|reply| Message::Pause(model, reply)).await?
    }

    /// Goes on with one.
    pub async fn resume(&self, model: ModelId) -> Result<Pull, ErrorData> {
        self.ask(|reply| Message::Resume(model, reply)).await?
    }

    /// Gives one up and removes what it has.
    pub async fn cancel(&self, model: ModelId) -> Result<Pull, ErrorData> {
        self.ask(|reply| Message::Cancel(model, reply)).await?
    }

    /// Changes the bytes per second of all together, of those that run too.
    pub async fn limit(&self, bytes_per_second: Option<u64>) {
        // A loop that has ended fetches nothing.
        let _ = self.messages.send(Message::Limit(bytes_per_second)).await;
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, ErrorData> {
        let ending =
            || ErrorData::new(Kind::ShuttingDown, "the daemon is ending; start it again and repeat the request");
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())
    }
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;
