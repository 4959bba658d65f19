//! Which runs go on, which wait, and which are to stop: one loop owns that. Each run that goes on is a task of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::{Run, RunState};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::BY_HAND;
use super::run::{self, Left, Rest};
use super::store::{Change, Store};
use super::tools::Tools;

/// Runs of each kind that go on at once.
const AT_ONCE: usize = 4;

/// Runs of each kind that have begun and only wait for another try of a step; more than so many keep their places.
const MOST_RESTING: usize = 64;

/// After how long a run goes on whose log could not be written.
const STUCK: Duration = Duration::from_secs(15);

/// Who began a run. Those of each kind have places of their own: nobody who asks waits behind two hundred files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Somebody asked for it, or for it to go on.
    Hand,
    /// A trigger.
    Trigger,
}

/// Everything the loop can be told.
#[derive(Debug)]
pub enum Message {
    /// A run waits for its turn.
    Queue(u64, By),
    /// A run is to stop. Answered when it has: whether it went on or waited.
    Cancel(u64, oneshot::Sender<bool>),
}

/// What one task of the loop does.
#[derive(Debug)]
enum Doing {
    /// A run goes on, until it is told to stop.
    Run(u64, By, CancellationToken, Rest),
    /// A run that waited is written down as cancelled.
    Cancel(u64),
    /// A run waits until the disk may be well again.
    Stuck(u64, By, CancellationToken),
}

/// The loop.
pub struct Loop {
    store: Store,
    tools: Arc<Tools>,
    drain: watch::Receiver<Duration>,
    waiting: VecDeque<(u64, By)>,
    tasks: JoinSet<Left>,
    doing: HashMap<Id, Doing>,
    /// Who waits for a run to stop.
    stopping: Vec<(u64, oneshot::Sender<bool>)>,
    busy: watch::Sender<usize>,
    /// A run has begun to rest, or goes on.
    rests: Arc<Notify>,
    stop: CancellationToken,
}

impl Loop {
    pub fn new(
        store: Store,
        tools: Arc<Tools>,
        drain: watch::Receiver<Duration>,
        busy: watch::Sender<usize>,
        stop: CancellationToken,
    ) -> Self {
        let (waiting, tasks, doing, stopping) = (VecDeque::new(), JoinSet::new(), HashMap::new(), Vec::new());
        Self { store, tools, drain, waiting, tasks, doing, stopping, busy, rests: Arc::default(), stop }
    }

    /// Takes messages until `stop`, and then waits for the runs, which stop by themselves.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        match self.store.unfinished().await {
            Ok(runs) => self.waiting.extend(runs.iter().filter_map(|run| Some((run.run.number()?, By::of(run))))),
            Err(error) => tracing::warn!("no run goes on: {}", error.message),
        }
        let stop = self.stop.clone();
        loop {
            self.begin();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(message) = messages.recv() => self.take(message),
                () = self.rests.notified() => {}
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Begins what has its turn.
    fn begin(&mut self) {
        while let Some((run, by)) = self.next() {
            let (cancel, rest) = (CancellationToken::new(), Rest::new(&self.rests));
            let going = run::Going {
                store: self.store.clone(),
                tools: Arc::clone(&self.tools),
                cancel: cancel.clone(),
                stop: self.stop.clone(),
                drain: *self.drain.borrow(),
                rest: rest.clone(),
            };
            let id = self.tasks.spawn(run::go(run, going)).id();
            self.doing.insert(id, Doing::Run(run, by, cancel, rest));
        }
        self.busy.send_replace(self.waiting.len() + self.doing.len());
    }

    /// The first that has its turn.
    fn next(&mut self) -> Option<(u64, By)> {
        let count = |by, rests| {
            let is_such =
                |doing: &&Doing| matches!(doing, Doing::Run(_, of, _, rest) if *of == by && rest.is() == rests);
            self.doing.values().filter(is_such).count()
        };
        let has_room = |by| count(by, false) + count(by, true).saturating_sub(MOST_RESTING) < AT_ONCE;
        let has_place = |(run, by): &(u64, By)| {
            // One whose task has just come to its end has its turn when that is known.
            has_room(*by) && !self.doing.values().any(|doing| doing.is_of(*run))
        };
        let next = self.waiting.iter().position(has_place);
        next.and_then(|place| self.waiting.remove(place))
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Queue(run, by) => self.queue(run, by),
            Message::Cancel(run, reply) => {
                if let Some(place) = self.waiting.iter().position(|(waiting, _)| *waiting == run) {
                    self.waiting.remove(place);
                    self.cancel_waiting(run);
                } else if !self.doing.values().any(|doing| doing.is_of(run)) {
                    // Who asked may have gone.
                    let _ = reply.send(false);
                    return;
                }
                for doing in self.doing.values().filter(|doing| doing.is_of(run)) {
                    if let Doing::Run(_, _, cancel, _) | Doing::Stuck(_, _, cancel) = doing {
                        cancel.cancel();
                    }
                }
                self.stopping.push((run, reply));
            }
        }
    }

    fn queue(&mut self, run: u64, by: By) {
        if !self.waiting.iter().any(|(waiting, _)| *waiting == run) {
            self.waiting.push_back((run, by));
        }
    }

    /// A run that has not begun has nothing to stop but is written down.
    fn cancel_waiting(&mut self, run: u64) {
        let store = self.store.clone();
        let task = async move {
            let cancelled = vec![Change::state(RunState::Cancelled, None)];
            if let Err(error) = store.turn(run, &[RunState::Waiting, RunState::Running], cancelled).await {
                tracing::warn!("run_{run} was not cancelled: {}", error.message);
            }
            Left::AtRest
        };
        let id = self.tasks.spawn(task).id();
        self.doing.insert(id, Doing::Cancel(run));
    }

    fn ended(&mut self, ended: Result<(Id, Left), JoinError>) {
        let (id, left) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!("a run broke off: {error}");
                (error.id(), Left::Stuck)
            }
        };
        let Some(doing) = self.doing.remove(&id) else { return };
        let run = doing.run();
        match (left, &doing) {
            (Left::Stuck, Doing::Run(_, _, cancel, _)) if cancel.is_cancelled() => self.cancel_waiting(run),
            (Left::Stuck, Doing::Run(_, by, ..)) => {
                let cancel = CancellationToken::new();
                let (wait, stop) = (cancel.clone(), self.stop.clone());
                let task = async move {
                    tokio::select! {
                        () = wait.cancelled() => {}
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(STUCK) => {}
                    }
                    Left::AtRest
                };
                let id = self.tasks.spawn(task).id();
                self.doing.insert(id, Doing::Stuck(run, *by, cancel));
            }
            (_, Doing::Stuck(_, _, cancel)) if cancel.is_cancelled() => self.cancel_waiting(run),
            (_, Doing::Stuck(_, by, _)) => self.queue(run, *by),
            _ => {}
        }
        if !self.doing.values().any(|doing| doing.is_of(run)) {
            for (_, reply) in self.stopping.extract_if(.., |(stopping, _)| *stopping == run) {
                let _ = reply.send(true);
            }
        }
    }
}

impl By {
    /// Of a run of which only what is written down is known.
    fn of(run: &Run) -> Self {
        if run.cause == BY_HAND { Self::Hand } else { Self::Trigger }
    }
}

impl Doing {
    fn run(&self) -> u64 {
        match self {
            Self::Run(run, ..) | Self::Cancel(run) | Self::Stuck(run, ..) => *run,
        }
    }

    fn is_of(&self, run: u64) -> bool {
        self.run() == run
    }
}
