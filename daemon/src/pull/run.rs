//! The loop that owns the downloads: which there are, which run, and who is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ErrorData, Kind, ModelChange, ModelId, Pull, PullState};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::error::PullError;
use super::job::{self, Watched};
use super::rate::Limit;
use super::store::{Job, Store};
use super::{Message, Settings};
use crate::events::Events;
use crate::library::Library;

/// Between two times that a download in progress is told.
const TICK: Duration = Duration::from_millis(250);

/// How long one that is over can still be asked for.
const REMEMBERED: Duration = Duration::from_mins(5);

/// Downloads that are kept in the list, those that are over included.
const MAX_PULLS: usize = 256;

pub(super) struct Loop {
    settings: Arc<Settings>,
    library: Arc<Library>,
    events: Events,
    messages: mpsc::Sender<Message>,
    stop: CancellationToken,
    limit: Arc<Limit>,
    /// In the order of their start.
    pulls: Vec<Entry>,
}

/// One download.
struct Entry {
    job: Job,
    watched: Arc<Watched>,
    /// Ends its thread, while it has one.
    running: Option<CancellationToken>,
    /// What it is to be when its thread has ended.
    then: Then,
    /// Who wants to know when that is.
    replies: Vec<oneshot::Sender<Result<Pull, ErrorData>>>,
    told: Option<Pull>,
    /// When it came to rest.
    rested: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// What its thread says.
    AsItEnds,
    Paused,
    Cancelled,
    /// Once more from the beginning.
    Queued,
}

impl Loop {
    pub(super) fn new(
        settings: Settings,
        library: Arc<Library>,
        events: Events,
        messages: mpsc::Sender<Message>,
        stop: CancellationToken,
    ) -> Self {
        let limit = Arc::new(Limit::new(settings.limit));
        Self { settings: Arc::new(settings), library, events, messages, stop, limit, pulls: Vec::new() }
    }

    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        self.restore();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.stop.is_cancelled() {
            self.start_next();
            self.tell();
            tokio::select! {
                () = self.stop.clone().cancelled_owned() => {}
                Some(message) = messages.recv() => self.step(message),
                _ = ticks.tick(), if self.pulls.iter().any(|pull| pull.running.is_some()) => {}
            }
        }
        self.pulls.iter().filter_map(|pull| pull.running.as_ref()).for_each(CancellationToken::cancel);
        while self.pulls.iter().any(|pull| pull.running.is_some()) {
            match messages.recv().await {
                Some(Message::Ended(model, _)) => self.entry(&model).expect("it ran").running = None,
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Takes up what was left. One that failed is tried again: whatever was in its way may be gone.
    fn restore(&mut self) {
        for job in Job::all(&self.settings.pulls()) {
            let state = if job.paused { PullState::Paused } else { PullState::Queued };
            let watched = Watched::at_rest(&job, state, &self.settings.pulls());
            self.pulls.push(Entry::new(job, watched));
        }
    }

    fn step(&mut self, message: Message) {
        match message {
            Message::Start(model, revision, reply) => {
                let started = self.start(model, revision);
                drop(reply.send(started));
            }
            Message::List(reply) => {
                let now = Instant::now();
                let is_over = |state| matches!(state, PullState::Done | PullState::Cancelled);
                let listed = self.pulls.iter().filter(|pull| !is_over(pull.watched.state()));
                drop(reply.send(listed.map(|pull| pull.watched.pull(now)).collect()));
            }
            Message::Get(model, reply) => {
                let pull = self.entry(&model).map(|pull| pull.watched.pull(Instant::now()));
                drop(reply.send(pull));
            }
            Message::Pause(model, reply) => self.halt(&model, Then::Paused, reply),
            Message::Cancel(model, reply) => self.halt(&model, Then::Cancelled, reply),
            Message::Resume(model, reply) => {
                let resumed = self.resume(&model);
                drop(reply.send(resumed));
            }
            Message::Limit(limit) => self.limit.set(limit),
            Message::Ended(model, result) => self.ended(&model, result),
        }
    }

    fn start(&mut self, model: ModelId, revision: String) -> Result<Pull, ErrorData> {
        if let Some(pull) = self.entry(&model).filter(|pull| !pull.is_over()) {
            if pull.job.revision != revision && pull.was_refused() {
                // Its revision may not exist.
                return Ok(self.begin(model, revision));
            }
            if pull.job.revision != revision {
                let words = format!(
                    "{model} is in the list of downloads at revision {:?}; `talkiectl pulls cancel {model}` ends that, so that \
                     another can begin",
                    pull.job.revision
                );
                return Err(ErrorData::new(Kind::InvalidParams, words));
            }
            return self.resume(&model);
        }
        let others = self.pulls.iter().filter(|pull| pull.job.model.folder() != model.folder());
        if others.count() >= MAX_PULLS {
            let words = format!("{MAX_PULLS} downloads are in the list; cancel some of them");
            return Err(ErrorData::new(Kind::Busy, words));
        }
        Ok(self.begin(model, revision))
    }

    /// A new one, in the place of one that has come to its end.
    fn begin(&mut self, model: ModelId, revision: String) -> Pull {
        self.pulls.retain(|pull| pull.job.model.folder() != model.folder());
        let watched = Watched::new(model.clone(), PullState::Queued);
        let begun = watched.pull(Instant::now());
        self.pulls.push(Entry::new(Job::new(model, revision), watched));
        begun
    }

    fn resume(&mut self, model: &ModelId) -> Result<Pull, ErrorData> {
        let pull = self.entry(model).filter(|pull| !pull.is_over()).ok_or_else(|| not_found(model))?;
        pull.job.paused = false;
        if pull.running.is_some() {
            // One that is on its way to a pause turns round when it is there.
            if pull.then == Then::Paused {
                pull.then = Then::Queued;
            }
        } else if pull.watched.state().is_at_rest() {
            pull.watched.set(PullState::Queued, None);
            pull.rested = None;
        }
        Ok(pull.watched.pull(Instant::now()))
    }

    /// Stops a download; answered when its thread has ended.
    fn halt(&mut self, model: &ModelId, then: Then, reply: oneshot::Sender<Result<Pull, ErrorData>>) {
        let Some(pull) = self.entry(model).filter(|pull| !pull.is_over()) else {
            drop(reply.send(Err(not_found(model))));
            return;
        };
        pull.then = then;
        pull.replies.push(reply);
        match &pull.running {
            Some(running) => running.cancel(),
            None => self.ended(&model.clone(), Err(PullError::Stopped)),
        }
    }

    fn ended(&mut self, model: &ModelId, result: Result<(), PullError>) {
        let pulls = self.settings.pulls();
        let library = Arc::clone(&self.library);
        let Some(pull) = self.entry(model) else { return };
        pull.running = None;
        let then = std::mem::replace(&mut pull.then, Then::AsItEnds);
        let (state, error) = match (result, then) {
            (Ok(()), _) => {
                // Whoever is told that it is done finds it.
                library.look();
                (PullState::Done, None)
            }
            (Err(_), Then::Cancelled) => match discard(&pulls, model) {
                Ok(()) => (PullState::Cancelled, None),
                Err(error) => (PullState::Failed, Some(error)),
            },
            (Err(_), Then::Paused) => match pull.pause(&pulls) {
                Ok(()) => (PullState::Paused, None),
                Err(error) => (PullState::Failed, Some(error)),
            },
            (Err(_), Then::Queued) | (Err(PullError::Stopped), Then::AsItEnds) => (PullState::Queued, None),
            (Err(error), Then::AsItEnds) => {
                tracing::warn!(%model, %error, "a download failed");
                // What the hub refuses leaves nothing behind.
                if pull.watched.pull(Instant::now()).done_bytes == 0 && !error.is_transient() {
                    // A folder that cannot be removed is tried again at the next start, as every download.
                    let _ = discard(&pulls, model);
                }
                (PullState::Failed, Some(error))
            }
        };
        tracing::info!(%model, state = ?state, "download");
        pull.watched.set(state, error);
        pull.rested = state.is_at_rest().then(Instant::now);
        let now = pull.watched.pull(Instant::now());
        for reply in std::mem::take(&mut pull.replies) {
            drop(reply.send(Ok(now.clone())));
        }
    }

    /// Lets those that wait run, as many as may.
    fn start_next(&mut self) {
        let now = Instant::now();
        self.pulls.retain(|pull| !pull.is_over() || pull.rested.is_none_or(|at| now.duration_since(at) < REMEMBERED));
        let mut running = self.pulls.iter().filter(|pull| pull.running.is_some()).count();
        for pull in &mut self.pulls {
            if running >= self.settings.running {
                return;
            }
            if pull.running.is_none() && pull.watched.state() == PullState::Queued {
                let stop = CancellationToken::new();
                pull.running = Some(stop.clone());
                running += 1;
                let (settings, limit) = (Arc::clone(&self.settings), Arc::clone(&self.limit));
                let (job, watched, messages) = (pull.job.clone(), Arc::clone(&pull.watched), self.messages.clone());
                let model = job.model.clone();
                let work = move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    let result = match runtime {
                        Ok(runtime) => runtime.block_on(job::run(&watched, job, &settings, &limit, stop)),
                        Err(error) => Err(PullError::storage("begin", &settings.root, &error)),
                    };
                    // Fails only when the loop itself is gone.
                    let _ = messages.blocking_send(Message::Ended(model, result));
                };
                let started = std::thread::Builder::new().name("pull".into()).spawn(work);
                if let Err(error) = started {
                    pull.running = None;
                    pull.watched.set(PullState::Failed, Some(PullError::storage("begin", &self.settings.root, &error)));
                }
            }
        }
    }

    /// Tells those who follow what is new.
    fn tell(&mut self) {
        let now = Instant::now();
        for pull in &mut self.pulls {
            let at = pull.watched.pull(now);
            if pull.told.as_ref() != Some(&at) {
                self.events.tell(ModelChange::Pull { pull: Box::new(at.clone()) });
                pull.told = Some(at);
            }
        }
    }

    fn entry(&mut self, model: &ModelId) -> Option<&mut Entry> {
        self.pulls.iter_mut().find(|pull| pull.job.model.folder() == model.folder())
    }
}

impl Entry {
    fn new(job: Job, watched: Watched) -> Self {
        let watched = Arc::new(watched);
        Self { job, watched, running: None, then: Then::AsItEnds, replies: Vec::new(), told: None, rested: None }
    }

    fn is_over(&self) -> bool {
        matches!(self.watched.state(), PullState::Done | PullState::Cancelled)
    }

    /// Whether it failed before anything of it was there.
    fn was_refused(&self) -> bool {
        self.running.is_none()
            && self.watched.state() == PullState::Failed
            && self.watched.pull(Instant::now()).done_bytes == 0
    }

    /// Writes down that it is not to go on by itself.
    fn pause(&mut self, pulls: &std::path::Path) -> Result<(), PullError> {
        let store = Store::open(pulls, &self.job.model)?;
        // Its thread has learnt more than was known when it began.
        let mut job = store.job().unwrap_or_else(|| self.job.clone());
        job.paused = true;
        store.save(&job)?;
        self.job = job;
        Ok(())
    }
}

fn discard(pulls: &std::path::Path, model: &ModelId) -> Result<(), PullError> {
    if !pulls.join(model.folder()).exists() {
        return Ok(());
    }
    Store::open(pulls, model)?.remove()
}

fn not_found(model: &ModelId) -> ErrorData {
    let words = format!("{model} is not being downloaded; pulls.list tells what is");
    ErrorData::new(Kind::PullNotFound, words)
}
