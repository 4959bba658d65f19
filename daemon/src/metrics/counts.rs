//! The counts themselves, and the bounds of what tells them apart.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    Metrics, ModelChange, ModelId, ModelMetrics, Priority, ProviderId, Pull, PullMetrics, PullState, RequestMetrics,
    UnloadReason,
};
use serde::Serialize;

use super::histogram::{Histogram, TOKEN_US, WAIT_US};
use super::{Ended, Outcome, Times};

/// Most models, and most engines and servers, that are told apart.
const MODELS: usize = 64;
const ENGINES: usize = 16;

/// What the rest is called.
const OTHER: &str = "other";

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: BTreeMap<Subject, Requests>,
    models: BTreeMap<ModelId, Model>,
    pulls: PullMetrics,
    /// Downloads under way, as far as told; as many as there are.
    pulling: BTreeSet<ModelId>,
    /// The names that have a place of their own.
    known_models: BTreeSet<ModelId>,
    known_engines: BTreeSet<ProviderId>,
}

/// What tells requests apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    model: Option<ModelId>,
    engine: Option<ProviderId>,
    priority: Option<Priority>,
}

/// Requests that ended.
#[derive(Debug)]
struct Requests {
    outcomes: BTreeMap<String, u64>,
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
    queue: Histogram,
    load: Histogram,
    first_token: Histogram,
    token: Histogram,
    total: Histogram,
}

/// A model that was in memory, by any engine.
#[derive(Debug, Default)]
struct Model {
    loads: u64,
    load_failures: u64,
    unloads: BTreeMap<String, u64>,
    engine_restarts: u64,
    /// Engines that hold it.
    held: u32,
    /// An engine was lost, and none has come in its place.
    is_lost: bool,
}

impl Counts {
    pub(super) fn request(&mut self, ended: Ended) {
        let Ended { model, engine, priority, outcome, prompt_tokens, cached_tokens, completion_tokens, times } = ended;
        let model = model.map(|model| self.model(&model));
        let engine = engine.map(|engine| bounded(&mut self.known_engines, engine, ENGINES, ProviderId(OTHER.into())));
        let requests = self.requests.entry(Subject { model, engine, priority }).or_insert_with(Requests::new);
        *requests.outcomes.entry(outcome.name()).or_default() += 1;
        requests.prompt_tokens += u64::from(prompt_tokens);
        requests.cached_tokens += u64::from(cached_tokens);
        requests.completion_tokens += u64::from(completion_tokens);
        requests.observe(times);
    }

    /// Takes what happened to a model. Engines of one model are not told apart by events: where two of them have it and
    /// one is lost while it loads, that counts as the loss of the other.
    pub(super) fn change(&mut self, change: &ModelChange) {
        match change {
            ModelChange::Loaded { model } => {
                let model = self.of(model);
                model.loads += 1;
                model.held += 1;
                model.engine_restarts += u64::from(std::mem::take(&mut model.is_lost));
            }
            ModelChange::Unloaded { model, reason, .. } => self.of(model).unload(*reason),
            ModelChange::Pull { pull } => self.pull(pull),
            ModelChange::Current { .. }
            | ModelChange::Added { .. }
            | ModelChange::Changed { .. }
            | ModelChange::Removed { .. }
            | ModelChange::Loading { .. } => {}
        }
    }

    pub(super) fn read(&self) -> Metrics {
        Metrics {
            requests: self.requests.iter().map(|(subject, requests)| requests.told(subject)).collect(),
            models: self.models.iter().map(|(id, model)| model.told(id)).collect(),
            pulls: self.pulls,
            ..Metrics::default()
        }
    }

    /// A download that failed before this start is told of too, and not counted.
    fn pull(&mut self, pull: &Pull) {
        if !pull.state.is_at_rest() {
            self.pulling.insert(pull.model.clone());
        } else if self.pulling.remove(&pull.model) {
            match pull.state {
                PullState::Done => {
                    self.pulls.finished += 1;
                    self.pulls.finished_bytes += pull.done_bytes;
                }
                PullState::Failed => self.pulls.failed += 1,
                _ => {}
            }
        }
    }

    fn of(&mut self, model: &ModelId) -> &mut Model {
        let model = self.model(model);
        self.models.entry(model).or_default()
    }

    fn model(&mut self, model: &ModelId) -> ModelId {
        bounded(&mut self.known_models, model.clone(), MODELS, ModelId(OTHER.into()))
    }
}

/// The name itself, as long as there is room for it.
fn bounded<T: Ord + Clone>(known: &mut BTreeSet<T>, name: T, most: usize, other: T) -> T {
    if known.contains(&name) {
        return name;
    }
    if known.len() >= most {
        return other;
    }
    known.insert(name.clone());
    name
}

impl Requests {
    fn new() -> Self {
        let wait = || Histogram::new(WAIT_US);
        Self {
            outcomes: BTreeMap::new(),
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            queue: wait(),
            load: wait(),
            first_token: wait(),
            token: Histogram::new(TOKEN_US),
            total: wait(),
        }
    }

    fn observe(&mut self, times: Times) {
        let Times { queue, load, first_token, token, total } = times;
        self.queue.observe(queue);
        self.load.observe(load.filter(|load| !load.is_zero()));
        self.first_token.observe(first_token);
        self.token.observe(token);
        self.total.observe(total);
    }

    fn told(&self, subject: &Subject) -> RequestMetrics {
        RequestMetrics {
            model: subject.model.clone(),
            engine: subject.engine.clone(),
            priority: subject.priority.map(|priority| priority.name().to_owned()),
            outcomes: self.outcomes.clone(),
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            completion_tokens: self.completion_tokens,
            queue_ms: self.queue.told(),
            load_ms: self.load.told(),
            first_token_ms: self.first_token.told(),
            token_ms: self.token.told(),
            total_ms: self.total.told(),
        }
    }
}

impl Model {
    fn unload(&mut self, reason: UnloadReason) {
        *self.unloads.entry(name(reason)).or_default() += 1;
        // One that nobody held was lost while it loaded.
        let is_lost = reason == UnloadReason::EngineLost;
        if reason == UnloadReason::LoadFailed || is_lost && self.held == 0 {
            self.load_failures += 1;
        } else {
            self.held = self.held.saturating_sub(1);
        }
        self.is_lost |= is_lost;
    }

    fn told(&self, id: &ModelId) -> ModelMetrics {
        ModelMetrics {
            model: id.clone(),
            loads: self.loads,
            load_failures: self.load_failures,
            unloads: self.unloads.clone(),
            engine_restarts: self.engine_restarts,
        }
    }
}

impl Outcome {
    fn name(self) -> String {
        match self {
            Self::Finished(reason) => name(reason),
            Self::Failed(kind) => name(kind),
            Self::Abandoned => "abandoned".into(),
        }
    }
}

/// The wire's name of a value without fields.
fn name(value: impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or(OTHER).to_owned()
}
