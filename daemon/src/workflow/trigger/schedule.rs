//! Runs at times. The last time that was served stands in the file of runs: what passed while the daemon did not run, while
//! the machine slept or when the clock jumped ahead starts one run afterwards; a clock that is set back serves nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use protocol::ErrorData;
use serde_json::Map;
use tokio_util::sync::CancellationToken;
use workflow::{Trigger, When};

use super::super::directory::Snapshot;
use super::super::{By, Cause, Message, Workflows, number, tell};

/// Between two looks at the clock, which may jump.
const LOOK: Duration = Duration::from_secs(15);

/// Shortest wait, and that after a run could not begin.
const SHORTEST: Duration = Duration::from_millis(10);
const AGAIN: Duration = Duration::from_secs(2);

/// A clock that was set back by more than this was wrong before: it does not keep schedules waiting.
const WRONG: SignedDuration = SignedDuration::from_hours(25);

/// What time it is, and where.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> (Timestamp, TimeZone) + Send + Sync>);

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self(Arc::new(|| (Timestamp::now(), TimeZone::system())))
    }

    fn now(&self) -> (Timestamp, TimeZone) {
        (self.0)()
    }
}

/// One schedule.
#[derive(Debug, Clone)]
struct Timer {
    when: When,
    served: Timestamp,
}

/// What a schedule wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// A run now.
    Due,
    /// Nothing for so long.
    In(Duration),
    /// Nothing ever.
    Never,
}

impl Timer {
    fn turn(&mut self, now: Timestamp, zone: &TimeZone) -> Turn {
        if self.served.duration_since(now) > WRONG {
            self.served = now;
        }
        match self.when.next(self.served, zone) {
            None => Turn::Never,
            Some(next) if next <= now => Turn::Due,
            Some(next) => Turn::In(next.duration_since(now).unsigned_abs()),
        }
    }
}

/// Follows all schedules of all workflows, until `stop`.
pub async fn follow(workflows: Workflows, clock: Clock, stop: CancellationToken) {
    let mut files = workflows.files();
    files.mark_changed();
    let mut timers = BTreeMap::new();
    let (mut wait, mut said, mut again) = (Duration::ZERO, None, false);
    loop {
        let is_changed = tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = files.changed() => true,
            () = tokio::time::sleep(wait.clamp(SHORTEST, LOOK)) => again,
        };
        let stepped = async {
            if is_changed {
                let snapshot = Arc::clone(&files.borrow_and_update());
                timers = kept(&workflows, &snapshot, std::mem::take(&mut timers), &clock).await?;
            }
            step(&workflows, &mut timers, &clock).await
        };
        wait = match stepped.await {
            Ok(next) => {
                (said, again) = (None, false);
                next
            }
            Err(error) => {
                if said.as_ref() != Some(&error.message) {
                    tracing::warn!("a schedule starts nothing now: {}", error.message);
                    said = Some(error.message);
                }
                again = is_changed;
                AGAIN
            }
        };
    }
}

/// The name of a schedule in the file of runs, and the workflow that it starts.
type Key = (String, String);

/// The timers of all schedules that there are now; those that were there before go on.
async fn kept(
    workflows: &Workflows,
    snapshot: &Snapshot,
    mut before: BTreeMap<Key, Timer>,
    clock: &Clock,
) -> Result<BTreeMap<Key, Timer>, ErrorData> {
    let mut timers = BTreeMap::new();
    for entry in snapshot.entries.values().filter(|entry| snapshot.problems_of(entry).is_empty()) {
        for trigger in entry.workflow.iter().flat_map(|workflow| &workflow.triggers) {
            let Trigger::Schedule(when) = &trigger.value else { continue };
            let key = (entry.name.clone(), format!("schedule {}", tell::trigger(trigger)));
            let timer = match before.remove(&key) {
                Some(timer) => timer,
                None => begun(workflows, &key, when, clock).await?,
            };
            timers.insert(key, timer);
        }
    }
    Ok(timers)
}

/// A schedule that was not followed until now. One that is there for the first time has missed nothing.
async fn begun(workflows: &Workflows, key: &Key, when: &When, clock: &Clock) -> Result<Timer, ErrorData> {
    let (workflow, name) = key;
    let served = workflows.store.served(workflow, name).await?;
    let served = if let Some(served) = served.and_then(|served| Timestamp::from_millisecond(served).ok()) {
        served
    } else {
        let now = clock.now().0;
        workflows.store.serve(workflow, name, now.as_millisecond()).await?;
        now
    };
    Ok(Timer { when: when.clone(), served })
}

/// Starts what is due, and returns how long nothing is. Where a workflow has no room, its time is served later.
async fn step(workflows: &Workflows, timers: &mut BTreeMap<Key, Timer>, clock: &Clock) -> Result<Duration, ErrorData> {
    let (mut wait, mut failed) = (LOOK, None);
    for ((workflow, name), timer) in timers {
        let (now, zone) = clock.now();
        match timer.turn(now, &zone) {
            Turn::Never => {}
            Turn::In(time) => wait = wait.min(time),
            Turn::Due => match start(workflows, workflow, name, now).await {
                Ok(()) => {
                    timer.served = now;
                    wait = SHORTEST;
                }
                // Others are not kept waiting by it.
                Err(error) => failed = Some(error),
            },
        }
    }
    failed.map_or(Ok(wait), Err)
}

async fn start(workflows: &Workflows, workflow: &str, name: &str, now: Timestamp) -> Result<(), ErrorData> {
    let cause = Cause::Trigger { words: name.to_owned(), event: None };
    let new = workflows.new_run(workflow, Map::new(), cause).await?;
    let run = workflows.store.add_at(new, name, now.as_millisecond()).await?;
    workflows.tell(Message::Queue(number(&run.run)?, By::Trigger)).await
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
