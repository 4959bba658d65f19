//! What the daemon is set to, and how a running one takes another file: one task owns the configuration, and hands each new
//! value to whoever owns what it is about.
//!
//! A file that is wrong changes nothing. Called by the methods of `daemon.*` and, by way of `run`, by SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Configuration, ErrorData, Kind, Reloaded};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::kinds::DraftModels;
use crate::config::{Change, Config, ConfigError, Settings};
use crate::error::internal;
use crate::memory;
use crate::preload::Preloads;
use crate::provider::Registry;
use crate::pull::Pulls;
use crate::scheduler::{Limits, Scheduler};
use crate::telemetry;
use crate::workflow::action::shell::Policy;
use crate::workflow::tools::May;

/// Messages that may wait for the loop; senders wait when it is full.
const MESSAGES: usize = 8;

/// How long connections stay open after the last request has ended.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// Everything the loop can be told.
#[derive(Debug)]
enum Message {
    Reload(oneshot::Sender<Result<Reloaded, ErrorData>>),
    Describe(oneshot::Sender<Configuration>),
}

/// A handle on the configuration.
#[derive(Debug, Clone)]
pub struct Reload {
    messages: mpsc::Sender<Message>,
}

/// Who owns what the settings are about.
#[derive(Debug)]
pub struct Owners {
    /// Keeps models warm, lets requests wait, and lets them end.
    pub scheduler: Scheduler,
    /// Downloads.
    pub pulls: Pulls,
    /// Sends requests to other machines.
    pub registry: Arc<Registry>,
    /// Loads models at the start.
    pub preloads: Preloads,
    /// Which model guesses tokens for which, where one is loaded from now on.
    pub drafts: watch::Sender<DraftModels>,
    /// How long connections may take to end.
    pub drain: watch::Sender<Duration>,
    /// How long steps of workflows may take to end.
    pub drains: watch::Sender<Duration>,
    /// What workflows may run and reach.
    pub may: watch::Sender<May>,
    /// After how long the daemon ends that nobody uses.
    pub idle_exit: watch::Sender<Option<Duration>>,
}

impl Reload {
    /// Starts the loop, which reads the file again whenever something comes through `signals`.
    pub fn start(
        config: Config,
        owners: Owners,
        signals: mpsc::Receiver<()>,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (messages, receiver) = mpsc::channel(MESSAGES);
        let task = tokio::spawn(Loop { config, owners }.run(receiver, signals, stop));
        (Self { messages }, task)
    }

    /// What holds, and where it is from.
    pub async fn describe(&self) -> Result<Configuration, ErrorData> {
        self.ask(Message::Describe).await
    }

    /// Reads the file again and takes what has changed.
    pub async fn reload(&self) -> Result<Reloaded, ErrorData> {
        self.ask(Message::Reload).await?
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, ErrorData> {
        let ending = || ErrorData::new(Kind::ShuttingDown, "the daemon is ending");
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())
    }
}

struct Loop {
    config: Config,
    owners: Owners,
}

impl Loop {
    async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut signals: mpsc::Receiver<()>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // Whoever asked may have gone away, which is no fault.
                Some(message) = messages.recv() => match message {
                    Message::Describe(reply) => drop(reply.send(self.config.describe())),
                    Message::Reload(reply) => drop(reply.send(self.reload().await)),
                },
                // It has logged what came of it; nobody else wants to know.
                Some(()) = signals.recv() => drop(self.reload().await),
                else => return,
            }
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, ErrorData> {
        let before = self.config.clone();
        let read = tokio::task::spawn_blocking(move || before.again()).await;
        let new = read.map_err(|_| internal("reading the configuration panicked"))?.map_err(|error| refused(&error))?;
        let change = self.config.renew(&new);
        self.owners.take(&self.config.settings).await?;
        tell(&change);
        let names = |keys: Vec<&'static str>| keys.into_iter().map(str::to_owned).collect();
        let Change { changed, needs_restart } = change;
        Ok(Reloaded { file: new.file, changed: names(changed), needs_restart: names(needs_restart) })
    }
}

impl Owners {
    /// Hands out every value; who has it already changes nothing by it.
    async fn take(&self, settings: &Settings) -> Result<(), ErrorData> {
        telemetry::set_filter(&settings.log.0);
        self.registry.set_local_only(settings.local_only);
        self.drafts.send_replace(settings.draft_models.clone());
        self.drain.send_replace(settings.drain + LAST_WORDS);
        self.drains.send_replace(settings.drain);
        self.may.send_replace(may(settings));
        self.idle_exit.send_replace(settings.idle_exit.0);
        self.preloads.set(&settings.preload);
        self.pulls.limit(settings.pull_limit.0).await;
        self.scheduler.limit(limits(settings), settings.drain).await
    }
}

/// The share of workflows.
pub fn may(settings: &Settings) -> May {
    let shell = Policy { programs: settings.workflow_shell.0.clone(), scripts: settings.workflow_scripts };
    May { shell, local_only: settings.local_only }
}

/// The scheduler's share of the settings.
pub fn limits(settings: &Settings) -> Limits {
    let machine = memory::for_models();
    let memory = settings.memory.bytes(memory::total_bytes);
    Limits {
        waiting: settings.queue.0,
        batch: settings.batch.0,
        keep_alive: settings.keep_alive,
        memory,
        machine,
        prefixes: settings.prefix_cache.bytes(memory.unwrap_or(machine)),
        silence: settings.engine_timeout,
    }
}

fn refused(error: &ConfigError) -> ErrorData {
    let words = format!("{error}\nnothing is changed: talkied goes on as before");
    tracing::error!("the configuration was not read again: {words}");
    ErrorData::new(Kind::ConfigurationError, words)
}

fn tell(change: &Change) {
    let Change { changed, needs_restart } = change;
    tracing::info!(changed = changed.join(", "), "the configuration was read again");
    if !needs_restart.is_empty() {
        tracing::warn!(settings = needs_restart.join(", "), "these take their new values at the next start");
    }
}
