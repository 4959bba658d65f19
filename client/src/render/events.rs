//! What happens to models and downloads, a line each, with the time of the day.
//!
//! Called by `events`.

use std::collections::HashMap;
use std::fmt::Write;

use protocol::{Model, ModelChange, ModelId, ModelState, Pull, PullState, ResidencyState, UnloadReason};

use super::{bytes, percent, printable, pulls};

/// Tells changes, of progress only the steps.
#[derive(Debug, Default)]
pub struct Teller {
    /// Tenths of what is being read or downloaded, that were told last.
    told: HashMap<ModelId, (Option<PullState>, u64)>,
}

/// The time of the day here.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}

impl Teller {
    /// The lines of a change; none for progress that is too small.
    pub fn lines(&mut self, change: &ModelChange, time: &str) -> String {
        let mut text = String::new();
        let mut line = |model: &ModelId, words: &str| {
            let _ = writeln!(text, "{time}  {}  {}", printable(&model.0), printable(words));
        };
        match change {
            ModelChange::Current { models, pulls } => {
                for model in models {
                    line(&model.id, &state(model));
                }
                for pull in pulls {
                    line(&pull.model, &of_pull(pull));
                }
                if models.is_empty() && pulls.is_empty() {
                    let _ = writeln!(text, "{time}  no models and no downloads");
                }
            }
            ModelChange::Added { model } => line(&model.id, &format!("is there: {}", state(model))),
            ModelChange::Changed { model } => line(&model.id, &format!("has changed: {}", state(model))),
            ModelChange::Removed { model } => line(model, "is gone from the disk"),
            ModelChange::Loading { model, done_bytes, total_bytes } => {
                if self.is_news(model, None, *done_bytes, *total_bytes) {
                    line(model, &format!("loading {}", percent(*done_bytes as f64 / (*total_bytes).max(1) as f64)));
                }
            }
            ModelChange::Loaded { model } => {
                self.told.remove(model);
                line(model, "is warm");
            }
            ModelChange::Unloaded { model, reason, error } => {
                self.told.remove(model);
                let why = error.as_ref().map_or(String::new(), |error| format!(": {}", error.message));
                line(model, &format!("is out of memory, {}{why}", unloaded(*reason)));
            }
            ModelChange::Pull { pull } => {
                let total = pull.total_bytes.unwrap_or_default();
                if self.is_news(&pull.model, Some(pull.state), pull.done_bytes, total) {
                    line(&pull.model, &of_pull(pull));
                }
            }
        }
        text
    }

    fn is_news(&mut self, model: &ModelId, state: Option<PullState>, done: u64, total: u64) -> bool {
        let step = (state, done.saturating_mul(10) / total.max(1));
        self.told.insert(model.clone(), step) != Some(step)
    }
}

fn state(model: &Model) -> String {
    let size = bytes(model.size);
    let problem = model.problem.as_ref().map_or(String::new(), |problem| format!(": {problem}"));
    match (model.state, &model.residency) {
        (ModelState::Broken, _) => format!("broken{problem}"),
        (ModelState::Gone, _) => format!("files gone{problem}"),
        (ModelState::Partial, _) => format!("incomplete{problem}"),
        (ModelState::Complete, None) => format!("on disk, {size}"),
        (ModelState::Complete, Some(residency)) => match residency.state {
            ResidencyState::Loading => format!("loading {}", percent(residency.loaded_share)),
            ResidencyState::Idle => "warm".into(),
            ResidencyState::Busy => "busy".into(),
            ResidencyState::Unloading => "unloading".into(),
        },
    }
}

fn of_pull(pull: &Pull) -> String {
    format!("download: {}", pulls::progress(pull))
}

fn unloaded(reason: UnloadReason) -> &'static str {
    match reason {
        UnloadReason::Idle => "since nobody used it",
        UnloadReason::Memory => "to make room for another",
        UnloadReason::MemoryPressure => "since this machine runs short of memory",
        UnloadReason::Requested => "as was asked",
        UnloadReason::Deleted => "since it was removed",
        UnloadReason::LoadFailed => "since it could not be loaded",
        UnloadReason::EngineLost => "since its engine died",
        UnloadReason::ShuttingDown => "since talkied ends",
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
