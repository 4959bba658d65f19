//! What happens in the daemon, as triggers and hooks are told of it.

use std::collections::BTreeSet;

use protocol::{ModelChange, ModelId, Pull, PullState, Run};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use workflow::file::EventKind;

use crate::events::{Events, Follower, News};
use crate::memory::Level;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// What.
    pub kind: EventKind,
    /// All that is known of it, as `EVENT` has it: `event`, and what belongs to it.
    pub told: Map<String, Value>,
}

/// One who follows what happens.
#[derive(Debug)]
pub struct Happenings {
    events: Follower,
    levels: watch::Receiver<Level>,
    /// Runs that came to rest; `None` where nobody asks.
    runs: Option<broadcast::Receiver<Run>>,
    /// Whether it has begun: what it missed before is no loss.
    began: bool,
    /// Models whose downloads go on. One that rests already when it is first told of has ended before.
    pulls: BTreeSet<ModelId>,
}

impl Happenings {
    /// From now on.
    pub fn follow(events: &Events, runs: Option<broadcast::Receiver<Run>>) -> Self {
        Self { events: events.follow(None), levels: events.pressure(), runs, began: false, pulls: BTreeSet::new() }
    }

    /// Waits for what happens next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Vec<Happening> {
        tokio::select! {
            news = self.events.next() => {
                let began = std::mem::replace(&mut self.began, true);
                match news {
                    News::Events(events) => events.iter().filter_map(|event| self.happening(&event.change)).collect(),
                    News::Missed(_) => {
                        if began {
                            missed();
                        }
                        Vec::new()
                    }
                }
            }
            ended = ended(&mut self.runs) => ended.iter().map(Happening::of_run).collect(),
            // The sender lives as long as the events.
            Ok(()) = self.levels.changed() => Happening::of_level(*self.levels.borrow_and_update()).into_iter().collect(),
        }
    }
}

/// Waits for a run that comes to rest; `None` where some were missed. Dropping the future loses nothing.
async fn ended(runs: &mut Option<broadcast::Receiver<Run>>) -> Option<Run> {
    let Some(runs) = runs else { return std::future::pending().await };
    match runs.recv().await {
        Ok(run) => Some(run),
        Err(RecvError::Lagged(_)) => {
            missed();
            None
        }
        // The sender lives as long as the daemon's runs.
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

fn missed() {
    tracing::warn!("more happened at once than is kept; workflows and hooks have missed some of it");
}

impl Happenings {
    /// `None` of what is only a step on the way.
    fn happening(&mut self, change: &ModelChange) -> Option<Happening> {
        let ModelChange::Pull { pull } = change else { return Happening::of(change) };
        if pull.state.is_at_rest() {
            return self.pulls.remove(&pull.model).then(|| Happening::of_pull(pull)).flatten();
        }
        self.pulls.insert(pull.model.clone());
        None
    }
}

impl Happening {
    fn new(kind: EventKind, told: Value) -> Self {
        let mut all = Map::from_iter([("event".to_owned(), json!(kind.name()))]);
        if let Value::Object(told) = told {
            all.extend(told.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Self { kind, told: all }
    }

    fn of(change: &ModelChange) -> Option<Self> {
        let of_model = |kind, model: &ModelId| Some(Self::new(kind, json!({ "model": model })));
        match change {
            ModelChange::Added { model } => of_model(EventKind::ModelAdded, &model.id),
            ModelChange::Changed { model } => of_model(EventKind::ModelChanged, &model.id),
            ModelChange::Removed { model } => of_model(EventKind::ModelRemoved, model),
            ModelChange::Loaded { model } => of_model(EventKind::ModelLoaded, model),
            ModelChange::Unloaded { model, reason, error } => {
                let told =
                    json!({ "model": model, "reason": reason, "error": error.as_ref().map(|error| &error.message) });
                Some(Self::new(EventKind::ModelUnloaded, told))
            }
            ModelChange::Current { .. } | ModelChange::Loading { .. } | ModelChange::Pull { .. } => None,
        }
    }

    fn of_pull(pull: &Pull) -> Option<Self> {
        let kind = match pull.state {
            PullState::Done => EventKind::PullFinished,
            PullState::Failed => EventKind::PullFailed,
            _ => return None,
        };
        let told = json!({ "model": pull.model, "error": pull.error.as_ref().map(|error| &error.message) });
        Some(Self::new(kind, told))
    }

    fn of_run(run: &Run) -> Self {
        let Run { run, workflow, state, cause, why, .. } = run;
        let told = json!({ "run": run, "workflow": workflow, "state": state, "cause": cause, "why": why });
        Self::new(EventKind::RunEnded, told)
    }

    fn of_level(level: Level) -> Option<Self> {
        let level = match level {
            Level::Calm => return None,
            Level::Soft => "soft",
            Level::Hard => "hard",
        };
        Some(Self::new(EventKind::MemoryPressure, json!({ "level": level })))
    }

    /// The model that it is about.
    pub fn model(&self) -> Option<&str> {
        self.told.get("model")?.as_str()
    }
}

#[cfg(test)]
#[path = "happening_tests.rs"]
mod tests;
