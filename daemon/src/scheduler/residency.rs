//! Who is in memory and who runs: the scheduler's decisions, as plain functions of what happened and when.
//!
//! Nothing here waits, spawns or sends: every input returns [`Effect`]s, which the scheduler's loop carries out in
//! order. A model is resident from the decision to load it until its engine process is gone; a model with requests
//! or loads waiting is never unloaded. How models leave is in `leaving`.

mod leaving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use engine::{Command, Event, Finished, Load, Loaded, SequenceId};
use protocol::{ErrorData, KeepAlive, Kind, ModelChange};

use super::backoff::Crashes;
use super::failure::{failure_kind, load_error, shutting_down};
use super::resident::{Effect, EngineId, Job, Limits, Phase, Resident, Running, Ticket, Update};
use crate::local::{Key, LocalModel};
use leaving::Closing;

/// Every resident model and every request that waits or runs.
#[derive(Debug)]
pub struct Residency {
    limits: Limits,
    residents: BTreeMap<Key, Resident>,
    crashes: Crashes,
    /// Models that are about to be deleted.
    closing: Closing,
    next_engine: u64,
    /// Set once; from then on nothing new is taken.
    draining: bool,
    /// Filled by every input, emptied when it returns.
    effects: Vec<Effect>,
}

impl Residency {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            residents: BTreeMap::new(),
            crashes: Crashes::default(),
            closing: Closing::default(),
            next_engine: 0,
            draining: false,
            effects: Vec::new(),
        }
    }

    /// Takes other bounds. Models whose stay no request asked for stay by the new one.
    pub fn limit(&mut self, limits: Limits) {
        for resident in self.residents.values_mut().filter(|resident| !resident.is_stay_asked) {
            resident.keep_alive = limits.keep_alive;
        }
        self.limits = limits;
    }

    /// Every resident model, by id and engine.
    pub fn residents(&self) -> impl Iterator<Item = &Resident> {
        self.residents.values()
    }

    /// Takes a request, or fails it at once.
    pub fn submit(&mut self, job: Job, now: Instant) -> Vec<Effect> {
        let sequence = job.work.sequence();
        if let Err(error) = self.admit(&job.model.key(), now).and_then(|()| self.room()) {
            self.update(sequence, Update::Failed(error));
            return self.take();
        }
        let model = Arc::clone(&job.model);
        let resident = self.ensure(&model, now);
        resident.ask_stay(job.keep_alive);
        let before = resident.waiting.len() as u32 + u32::from(resident.running.is_some());
        resident.waiting.push_back(job);
        self.update(sequence, Update::Queued(before));
        self.start_next(&model.key(), now);
        self.take()
    }

    /// Loads a model, or joins the load under way. Without a ticket nobody is told and nobody is waited for.
    pub fn load(
        &mut self,
        model: &Arc<LocalModel>,
        keep_alive: Option<KeepAlive>,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Vec<Effect> {
        if let Err(error) = self.admit(&model.key(), now) {
            self.effects.extend(ticket.map(|ticket| Effect::Answer(ticket, Err(error))));
            return self.take();
        }
        let resident = self.ensure(model, now);
        resident.ask_stay(keep_alive);
        if resident.phase == Phase::Ready {
            if resident.is_idle() {
                resident.idle_since = now;
            }
            self.effects.extend(ticket.map(|ticket| Effect::Answer(ticket, Ok(()))));
        } else {
            resident.tickets.extend(ticket);
        }
        self.take()
    }

    /// Ends a request; false when there is none of that name.
    pub fn cancel(&mut self, sequence: SequenceId) -> (bool, Vec<Effect>) {
        for resident in self.residents.values_mut() {
            if resident.running.as_ref().is_some_and(|running| running.sequence == sequence) {
                self.effects.push(Effect::Send(resident.engine, Command::Cancel(sequence)));
                return (true, self.take());
            }
            if let Some(place) = resident.waiting.iter().position(|job| job.work.sequence() == sequence) {
                let prompt = resident.waiting.remove(place).map_or(0, |job| job.work.prompt_tokens());
                self.update(sequence, Update::Finished(Finished::before_its_start(sequence, prompt)));
                return (true, self.take());
            }
        }
        (false, Vec::new())
    }

    /// Ends one sample of a request that runs.
    pub fn end_sample(&mut self, sequence: SequenceId, sample: u32) -> Vec<Effect> {
        let runs = |resident: &&Resident| resident.running.as_ref().is_some_and(|it| it.sequence == sequence);
        let engine = self.residents.values().find(runs).map(|resident| resident.engine);
        self.effects.extend(engine.map(|engine| Effect::Send(engine, Command::End { sequence, sample })));
        self.take()
    }

    /// Takes what an engine reports. Reports of engines given up are ignored.
    pub fn report(&mut self, engine: EngineId, event: Event, now: Instant) -> Vec<Effect> {
        let Some(key) = self.model_of(engine) else { return Vec::new() };
        let Some(resident) = self.residents.get_mut(&key) else { return Vec::new() };
        match event {
            Event::Hello { version } if version != engine::VERSION => {
                let words = format!(
                    "the engine program speaks version {version} of the boundary and this daemon {}; \
                     install both from one release",
                    engine::VERSION
                );
                self.refuse(&key, ErrorData::new(Kind::ConfigurationError, words));
            }
            Event::Hello { .. } | Event::Prefill { .. } => {}
            Event::Needs(_) => self.effects.push(Effect::Send(engine, Command::Proceed)),
            Event::Loading { done_bytes, total_bytes } => {
                resident.progress = (done_bytes, total_bytes);
                for job in &resident.waiting {
                    let update = Update::Loading { done_bytes, total_bytes };
                    self.effects.push(Effect::Update(job.work.sequence(), update));
                }
                self.effects.push(Effect::Tell(ModelChange::Loading { model: key.id, done_bytes, total_bytes }));
            }
            Event::Ready(loaded) => self.ready(&key, loaded, now),
            Event::LoadFailed(failure) => {
                self.refuse(&key, load_error(&key.id, &failure));
            }
            Event::Token { sequence, sample, id: token, logprobs } => {
                if let Some(running) = resident.running.as_mut().filter(|running| running.sequence == sequence) {
                    running.tokens += 1;
                    self.update(sequence, Update::Token(sample, token, logprobs));
                }
            }
            Event::Ended { sequence, sample, reason } => self.update(sequence, Update::Ended(sample, reason)),
            Event::Vector { sequence, vector } => self.update(sequence, Update::Vector(vector)),
            Event::Finished(finished) => {
                self.crashes.forget(&key);
                self.end(&key, finished.sequence, Update::Finished(finished), now);
            }
            Event::Failed { sequence, failure } => {
                let error = ErrorData::new(failure_kind(failure.kind), failure.message);
                self.end(&key, sequence, Update::Failed(error), now);
            }
            Event::Memory(memory) => resident.memory = memory,
        }
        self.take()
    }

    fn admit(&self, key: &Key, now: Instant) -> Result<(), ErrorData> {
        if self.draining {
            return Err(shutting_down());
        }
        self.closing.admit(&key.id)?;
        let Some(wait) = self.crashes.wait(key, now) else { return Ok(()) };
        let mut error = ErrorData::new(
            Kind::EngineLost,
            format!(
                "the engine of {} ended several times in a row; it is started again in {} s",
                key.id,
                wait.as_secs() + 1
            ),
        );
        error.retry_after_ms = Some(wait.as_millis() as u64);
        Err(error)
    }

    fn room(&self) -> Result<(), ErrorData> {
        let waiting: usize = self.residents.values().map(|resident| resident.waiting.len()).sum();
        if waiting < self.limits.waiting {
            return Ok(());
        }
        let mut error = ErrorData::new(Kind::Busy, format!("{waiting} requests wait already; try again later"));
        error.retry_after_ms = Some(1000);
        error.queue_length = Some(waiting as u32);
        Err(error)
    }

    /// The resident of a model, newly begun if there is none.
    fn ensure(&mut self, model: &Arc<LocalModel>, now: Instant) -> &mut Resident {
        if !self.residents.contains_key(&model.key()) {
            self.begin(Arc::clone(model), self.limits.keep_alive, now);
        }
        self.residents.get_mut(&model.key()).expect("begun above where it was missing")
    }

    fn begin(&mut self, model: Arc<LocalModel>, keep_alive: KeepAlive, now: Instant) {
        let engine = EngineId(self.next_engine);
        self.next_engine += 1;
        self.effects.push(Effect::Spawn(engine, model.backend));
        self.effects.push(Effect::Send(engine, Command::Load(Load::new(model.path.clone()))));
        let key = model.key();
        let resident = Resident::new(model, engine, keep_alive, now);
        self.residents.insert(key, resident);
    }

    fn ready(&mut self, key: &Key, loaded: Loaded, now: Instant) {
        let Some(resident) = self.residents.get_mut(key).filter(|resident| resident.phase == Phase::Loading) else {
            return;
        };
        resident.phase = Phase::Ready;
        resident.loaded = Some(loaded);
        resident.ready_at = now;
        resident.idle_since = now;
        for ticket in std::mem::take(&mut resident.tickets) {
            self.effects.push(Effect::Answer(ticket, Ok(())));
        }
        self.effects.push(Effect::Tell(ModelChange::Loaded { model: key.id.clone() }));
        self.start_next(key, now);
    }

    /// Gives an engine that has nothing to do the request that waits longest.
    fn start_next(&mut self, key: &Key, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        if resident.phase != Phase::Ready || resident.running.is_some() {
            return;
        }
        let Some(job) = resident.waiting.pop_front() else { return };
        let sequence = job.work.sequence();
        let load = resident.ready_at.saturating_duration_since(job.arrived);
        let queue = now.saturating_duration_since(job.arrived.max(resident.ready_at));
        resident.running = Some(Running { sequence, tokens: 0, trace_id: job.trace_id, arrived: job.arrived });
        self.effects.push(Effect::Send(resident.engine, Command::Submit(job.work, engine::Priority::Normal)));
        self.update(sequence, Update::Started { load, queue });
    }

    fn end(&mut self, key: &Key, sequence: SequenceId, last: Update, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        if resident.running.as_ref().is_none_or(|running| running.sequence != sequence) {
            return;
        }
        resident.running = None;
        resident.idle_since = now;
        self.update(sequence, last);
        self.start_next(key, now);
    }

    fn fail_all(&mut self, key: &Key, error: &ErrorData) {
        self.fail_waiting(key, error);
        let Some(running) = self.residents.get_mut(key).and_then(|resident| resident.running.take()) else { return };
        self.update(running.sequence, Update::Failed(error.clone()));
    }

    fn fail_waiting(&mut self, key: &Key, error: &ErrorData) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        for job in resident.waiting.drain(..) {
            self.effects.push(Effect::Update(job.work.sequence(), Update::Failed(error.clone())));
        }
        for ticket in resident.tickets.drain(..) {
            self.effects.push(Effect::Answer(ticket, Err(error.clone())));
        }
    }

    fn model_of(&self, engine: EngineId) -> Option<Key> {
        self.residents.iter().find(|(_, resident)| resident.engine == engine).map(|(key, _)| key.clone())
    }

    fn update(&mut self, sequence: SequenceId, update: Update) {
        self.effects.push(Effect::Update(sequence, update));
    }

    fn take(&mut self) -> Vec<Effect> {
        self.settle();
        std::mem::take(&mut self.effects)
    }
}

#[cfg(test)]
#[path = "residency_tests.rs"]
mod tests;
