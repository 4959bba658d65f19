//! One run through its course: what is due is logged, then done, and what came of it is logged before anything follows.
//!
//! At the daemon's end a step that is at work may end within the drain time; after that it is dropped, as by a crash. The
//! course decides at the next start what is done again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use protocol::{RunChange, RunState};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use workflow::course::{Course, Due, End, Next, Program, Task, too_long};

use super::action::Failure;
use super::directory;
use super::store::{Change, Kept, Store};
use super::tools::{Output, Tools};

/// How long steps that are told to end may take for it.
const GRACE: Duration = Duration::from_secs(5);

/// What a run goes on with.
pub struct Going {
    /// Keeps its log.
    pub store: Store,
    /// Does its steps.
    pub tools: Arc<Tools>,
    /// Stops it alone.
    pub cancel: CancellationToken,
    /// Ends the daemon.
    pub stop: CancellationToken,
    /// How long a step may then go on.
    pub drain: Duration,
    /// Says whether it only waits.
    pub rest: Rest,
}

/// Whether a run does nothing but wait, for another try of a step; so long its place is another's.
#[derive(Debug, Clone)]
pub struct Rest {
    rests: Arc<AtomicBool>,
    /// Wakes who gives places.
    changed: Arc<Notify>,
}

impl Rest {
    /// That of a run that begins.
    pub fn new(changed: &Arc<Notify>) -> Self {
        Self { rests: Arc::default(), changed: Arc::clone(changed) }
    }

    /// Whether it does.
    pub fn is(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    fn say(&self, rests: bool) {
        if self.rests.swap(rests, Ordering::Relaxed) != rests {
            self.changed.notify_one();
        }
    }
}

/// How a run was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing more is to be done, or the daemon ends.
    AtRest,
    /// Its log cannot be read or written.
    Stuck,
}

/// What became of something due.
enum Ended {
    /// It has waited.
    Waited(Due),
    /// It was done, or not.
    Acted(Due, Duration, Result<Output, Failure>),
    /// The daemon ends, and it need not begin.
    Dropped,
}

/// A run that goes on.
struct Running {
    id: u64,
    going: Going,
    /// Away only while it is asked what comes next.
    course: Option<Course>,
    at_work: JoinSet<Ended>,
    /// How many of those at work do more than wait.
    acting: usize,
}

/// Why a run does not go on now.
enum Broken {
    /// Its log.
    Log,
    /// Something that another try will not mend, in words.
    Run(String),
}

/// Goes on with a run until it is at rest, or has to stop.
pub async fn go(id: u64, going: Going) -> Left {
    let store = going.store.clone();
    match begun(id, going).await {
        Ok(Some(running)) => match running.whole().await {
            Ok(()) => Left::AtRest,
            Err(broken) => left(id, &store, broken).await,
        },
        Ok(None) => Left::AtRest,
        Err(broken) => left(id, &store, broken).await,
    }
}

async fn left(id: u64, store: &Store, broken: Broken) -> Left {
    let Broken::Run(why) = broken else { return Left::Stuck };
    match store.append(id, vec![Change::state(RunState::Failed, Some(why))]).await {
        Ok(()) => Left::AtRest,
        Err(_) => Left::Stuck,
    }
}

/// Reads a run and says that it goes on; `None` where it is at rest already.
async fn begun(id: u64, going: Going) -> Result<Option<Running>, Broken> {
    let kept = going.store.kept(id).await.map_err(|error| {
        tracing::warn!("run_{id} cannot go on: {}", error.message);
        Broken::Log
    })?;
    let Some(kept) = kept.filter(|kept| !kept.run.state.is_at_rest()) else { return Ok(None) };
    let name = kept.run.run.to_string();
    tracing::info!(run = %name, workflow = %kept.run.workflow, cause = %kept.run.cause, "goes on");
    let read = tokio::task::spawn_blocking(move || course(kept, &name)).await;
    let course = read.map_err(|_| Broken::Run("reading its workflow panicked".into()))?.map_err(Broken::Run)?;
    let running = Running { id, going, course: Some(course), at_work: JoinSet::new(), acting: 0 };
    running.log(vec![Change::state(RunState::Running, None)]).await?;
    Ok(Some(running))
}

/// The course of a run as its log says, by the text that it began with.
pub fn course(kept: Kept, name: &str) -> Result<Course, String> {
    let program = Program::read(&kept.run.workflow, &kept.texts)
        .map_err(|(name, problems)| directory::invalid(&name, &directory::told_all(problems)).message)?;
    Course::new(Arc::new(program), name, kept.given, &kept.log)
}

impl Running {
    async fn whole(mut self) -> Result<(), Broken> {
        let (cancel, stop) = (self.going.cancel.clone(), self.going.stop.clone());
        loop {
            // Nothing begins any more once it is to stop.
            if !cancel.is_cancelled() && !stop.is_cancelled() && self.advance().await? {
                return Ok(());
            }
            self.going.rest.say(self.acting == 0);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self.cancelled().await,
                () = stop.cancelled() => return self.drained().await,
                Some(ended) = self.at_work.join_next() => {
                    let ended = ended.map_err(|error| Broken::Run(format!("a step broke off: {error}")))?;
                    self.ended(ended).await?;
                }
                else => return Err(Broken::Run("nothing of it is due, and nothing goes on".into())),
            }
        }
    }

    /// Has everything begin that is due; true where the run is at rest.
    async fn advance(&mut self) -> Result<bool, Broken> {
        let Next { notes, due, end } = self.next().await?;
        let mut changes: Vec<Change> = notes.into_iter().map(Change::Entry).collect();
        let (waiting, now): (Vec<Due>, Vec<Due>) = due.into_iter().partition(|due| !due.after.is_zero());
        changes.extend(now.iter().map(|due| Change::Entry(due.began())));
        let is_end = end.is_some();
        changes.extend(end.map(ends).into_iter().flatten());
        self.log(changes).await?;
        for due in waiting {
            self.wait(due);
        }
        for due in now {
            self.take(&due.began());
            self.act(due);
        }
        Ok(is_end)
    }

    /// What comes next. Templates take their time, so this is found out off the event loop.
    async fn next(&mut self) -> Result<Next, Broken> {
        let Some(mut course) = self.course.take() else { return Err(Broken::Run("its course is lost".into())) };
        let thought = tokio::task::spawn_blocking(move || {
            let next = course.advance();
            (course, next)
        });
        let (course, next) = thought.await.map_err(|_| Broken::Run("finding out what comes next panicked".into()))?;
        self.course = Some(course);
        Ok(next)
    }

    fn wait(&mut self, due: Due) {
        let stop = self.going.stop.clone();
        self.at_work.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => Ended::Dropped,
                () = sleep(due.after) => Ended::Waited(due),
            }
        });
    }

    fn act(&mut self, due: Due) {
        let (tools, cancel, run) = (Arc::clone(&self.going.tools), self.going.cancel.child_token(), self.id);
        let store = self.going.store.clone();
        self.acting += 1;
        self.at_work.spawn(async move {
            let began = Instant::now();
            let acted = AssertUnwindSafe(tools.act(&store, run, &due, &cancel)).catch_unwind().await;
            let outcome =
                acted.unwrap_or_else(|_| Err(Failure::Final("it panicked; the log of talkied says more".into())));
            Ended::Acted(due, began.elapsed(), outcome)
        });
    }

    async fn ended(&mut self, ended: Ended) -> Result<(), Broken> {
        match ended {
            Ended::Dropped => Ok(()),
            Ended::Waited(due) => {
                let began = due.began();
                self.log(vec![Change::Entry(began.clone())]).await?;
                self.take(&began);
                if !matches!(due.task, Task::Enter(_)) {
                    self.act(due);
                }
                Ok(())
            }
            Ended::Acted(due, took, outcome) => {
                self.acting -= 1;
                let change = outcome_of(&due, took, outcome);
                self.log(vec![Change::Entry(change.clone())]).await?;
                self.take(&change);
                Ok(())
            }
        }
    }

    /// Stops because somebody said so.
    async fn cancelled(mut self) -> Result<(), Broken> {
        self.last(GRACE, |_| false).await?;
        self.log(vec![Change::state(RunState::Cancelled, None)]).await
    }

    /// Stops because the daemon ends. What it did not end is left open.
    async fn drained(mut self) -> Result<(), Broken> {
        let drain = self.going.drain;
        // The end of the daemon is no failure of a step that can be done again.
        self.last(drain, |due| !due.idempotent).await
    }

    /// Logs what ends within a time, failures where they count; drops the rest.
    async fn last(&mut self, time: Duration, counts: impl Fn(&Due) -> bool) -> Result<(), Broken> {
        let until = tokio::time::Instant::now() + time;
        loop {
            tokio::select! {
                () = sleep_until(until) => break,
                ended = self.at_work.join_next() => match ended {
                    None => break,
                    Some(Ok(Ended::Acted(due, took, outcome))) if outcome.is_ok() || counts(&due) => {
                        let change = outcome_of(&due, took, outcome);
                        self.log(vec![Change::Entry(change)]).await?;
                    }
                    Some(_) => {}
                },
            }
        }
        self.at_work.shutdown().await;
        Ok(())
    }

    fn take(&mut self, change: &RunChange) {
        if let Some(course) = &mut self.course {
            course.take(change);
        }
    }

    async fn log(&self, changes: Vec<Change>) -> Result<(), Broken> {
        self.going.store.append(self.id, changes).await.map_err(|error| {
            tracing::warn!("run_{} stands still: {}", self.id, error.message);
            Broken::Log
        })
    }
}

fn outcome_of(due: &Due, took: Duration, outcome: Result<Output, Failure>) -> RunChange {
    let (place, duration_ms) = (due.place.clone(), took.as_millis() as u64);
    let checked = outcome.and_then(|output| match too_long(&output.value) {
        Some(words) => Err(Failure::Final(words)),
        None => Ok(output),
    });
    match checked {
        Ok(Output { value, prompt_tokens, completion_tokens, cost_usd }) => {
            RunChange::Done { place, output: value, prompt_tokens, completion_tokens, cost_usd, duration_ms }
        }
        Err(failure) => {
            // Another attempt makes no sense where none could go better.
            let attempt = if matches!(failure, Failure::Final(_)) { 0 } else { due.attempt };
            RunChange::Failed { place, error: failure.to_string(), attempt, duration_ms }
        }
    }
}

fn ends(end: End) -> Vec<Change> {
    match end {
        End::Finished { output, outputs } => {
            vec![Change::Result(output, outputs), Change::state(RunState::Finished, None)]
        }
        End::Failed(why) => vec![Change::state(RunState::Failed, Some(why))],
        End::Interrupted(why) => vec![Change::state(RunState::Interrupted, Some(why))],
    }
}
