//! Who is in memory and who runs: the scheduler's decisions, as plain functions of what happened and when.
//!
//! Nothing here waits, spawns or sends: every input returns [`Effect`]s, which the scheduler's loop carries out in
//! order. A model is resident from the decision to load it until its engine process is gone; a model with requests
//! or loads waiting is never unloaded. Who begins and who is paused is in `admission`, how models leave in `leaving`, and
//! what time brings in `timing`.

mod admission;
mod leaving;
mod memory;
mod timing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use engine::{Command, DeviceMemory, Event, Finished, Load, Loaded, SequenceId};
use protocol::{ErrorData, KeepAlive, Kind, LostEngine, ModelChange, Priority};

use super::backoff::Crashes;
use super::failure::{failure_kind, load_error, shutting_down};
use super::pace::Pace;
use super::resident::{Effect, EngineId, Job, Limits, Phase, Resident, Ticket, Update};
use super::running::Running;
use crate::backend::Backend;
use crate::local::{Key, LocalModel};
use crate::memory::Level;
use leaving::Closing;

/// Every resident model and every request that waits or runs.
#[derive(Debug)]
pub struct Residency {
    limits: Limits,
    residents: BTreeMap<Key, Resident>,
    crashes: Crashes,
    pace: Pace,
    /// What the devices of the engines say of their memory.
    devices: BTreeMap<Backend, DeviceMemory>,
    /// How short the machine is of memory.
    pressure: Level,
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
            pace: Pace::default(),
            devices: BTreeMap::new(),
            pressure: Level::Calm,
            closing: Closing::default(),
            next_engine: 0,
            draining: false,
            effects: Vec::new(),
        }
    }

    /// Takes other bounds. Models whose stay no request asked for stay by the new one; what runs beyond them runs on.
    pub fn limit(&mut self, limits: Limits, now: Instant) -> Vec<Effect> {
        for resident in self.residents.values_mut().filter(|resident| !resident.is_stay_asked) {
            resident.keep_alive = limits.keep_alive;
        }
        self.limits = limits;
        let keys: Vec<Key> = self.residents.keys().cloned().collect();
        for key in keys {
            self.fill(&key, now);
        }
        self.memory_changed(now);
        self.take()
    }

    /// Engines that ended by themselves, by model.
    pub fn lost(&self, now: Instant) -> Vec<LostEngine> {
        let lost = self.crashes.all(now).map(|(key, count, wait)| LostEngine {
            model: key.id.clone(),
            provider: key.backend.into(),
            count,
            retry_after_ms: wait.as_millis() as u64,
        });
        let mut lost: Vec<LostEngine> = lost.collect();
        lost.sort_by(|a, b| a.model.cmp(&b.model));
        lost
    }

    /// Every resident model, by id and engine.
    pub fn residents(&self) -> impl Iterator<Item = &Resident> {
        self.residents.values()
    }

    /// Takes a request, or fails it at once.
    pub fn submit(&mut self, job: Job, now: Instant) -> Vec<Effect> {
        let sequence = job.work.sequence();
        if let Err(error) = self.admit(&job.model.key(), now).and_then(|()| self.room(&job, now)) {
            self.update(sequence, Update::Failed(error));
            return self.take();
        }
        let model = Arc::clone(&job.model);
        let resident = self.ensure(&model, now);
        resident.ask_stay(job.keep_alive);
        let rows = resident.rows();
        let before = resident.waiting.push(job, &rows, now);
        self.update(sequence, Update::Queued(before));
        self.fill(&model.key(), now);
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
    pub fn cancel(&mut self, sequence: SequenceId, now: Instant) -> (bool, Vec<Effect>) {
        let keys: Vec<Key> = self.residents.keys().cloned().collect();
        for key in keys {
            let Some(resident) = self.residents.get_mut(&key) else { continue };
            let engine = resident.engine;
            if let Some(running) = resident.running_mut(sequence) {
                // It ends because it was cancelled, even if its deadline is over before the engine says so.
                running.deadline = None;
                self.effects.push(Effect::Send(engine, Command::Cancel(sequence)));
                return (true, self.take());
            }
            if let Some(job) = resident.waiting.remove(sequence) {
                resident.waiting.changed(now);
                let finished = Finished::before_its_start(sequence, job.work.prompt_tokens());
                self.update(sequence, Update::Finished(finished));
                // It may have been a wide one that held up others.
                self.fill(&key, now);
                self.stop_yielding(now);
                return (true, self.take());
            }
        }
        (false, Vec::new())
    }

    /// Ends one sample of a request that runs.
    pub fn end_sample(&mut self, sequence: SequenceId, sample: u32) -> Vec<Effect> {
        let runs = |resident: &&Resident| resident.running.iter().any(|running| running.sequence == sequence);
        let engine = self.residents.values().find(runs).map(|resident| resident.engine);
        self.effects.extend(engine.map(|engine| Effect::Send(engine, Command::End { sequence, sample })));
        self.take()
    }

    /// Takes how many more tokens a request has by now, and when it got on last.
    pub fn heard(&mut self, sequence: SequenceId, tokens: u32, at: Instant) {
        for resident in self.residents.values_mut() {
            let Some(running) = resident.running_mut(sequence) else { continue };
            running.tokens += tokens;
            resident.signs(at);
        }
    }

    /// Takes what an engine reports. Reports of engines given up are ignored.
    pub fn report(&mut self, engine: EngineId, event: Event, now: Instant) -> Vec<Effect> {
        let Some(key) = self.model_of(engine) else { return Vec::new() };
        let Some(resident) = self.residents.get_mut(&key) else { return Vec::new() };
        resident.signs(now);
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
            Event::Needs(needs) => self.needs(&key, needs, now),
            Event::Loading { done_bytes, total_bytes } => {
                resident.progress = (done_bytes, total_bytes);
                for job in resident.waiting.iter() {
                    let update = Update::Loading { done_bytes, total_bytes };
                    self.effects.push(Effect::Update(job.work.sequence(), update));
                }
                self.effects.push(Effect::Tell(ModelChange::Loading { model: key.id, done_bytes, total_bytes }));
            }
            Event::Ready(loaded) => self.ready(&key, loaded, now),
            Event::LoadFailed(failure) => {
                self.refuse(&key, load_error(&key.id, &failure));
            }
            // One that found no room with its request; all others are heard.
            Event::Token { sequence, sample, id, logprobs } => {
                self.update(sequence, Update::Token(sample, id, logprobs));
            }
            Event::Ended { sequence, sample, reason } => {
                self.update(sequence, Update::Ended(sample, reason));
                self.sample_ended(&key, sequence, now);
            }
            Event::Vector { sequence, vector } => self.update(sequence, Update::Vector(vector)),
            Event::Finished(finished) => {
                self.crashes.forget(&key);
                self.end(&key, finished.sequence, |running| timing::last(running, finished), now);
            }
            Event::Failed { sequence, failure } => {
                let error = ErrorData::new(failure_kind(failure.kind), failure.message);
                self.end(&key, sequence, |_| Update::Failed(error), now);
            }
            Event::Memory(memory) => {
                (resident.memory, resident.trimming) = (memory, false);
                self.memory_changed(now);
            }
        }
        self.take()
    }

    fn admit(&self, key: &Key, now: Instant) -> Result<(), ErrorData> {
        if self.draining {
            return Err(shutting_down());
        }
        self.closing.admit(&key.id)?;
        self.under_pressure()?;
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

    /// Whether one more may wait, and whether it has time for that. The last eighth of the places is not for background.
    fn room(&self, job: &Job, now: Instant) -> Result<(), ErrorData> {
        let retry = self.pace.next(now);
        if job.ends_at().is_some_and(|end| end <= now) {
            return Err(timing::waited_too_long(job, now, retry));
        }
        let waiting: usize = self.residents.values().map(|resident| resident.waiting.len()).sum();
        let kept = if job.claim.priority == Priority::Background { self.limits.waiting / 8 } else { 0 };
        if waiting < self.limits.waiting - kept {
            return Ok(());
        }
        let why = if waiting < self.limits.waiting { "; what places are left are not for background" } else { "" };
        let words = format!("{waiting} requests wait already{why}; try again later");
        let mut error = ErrorData::new(Kind::Busy, words);
        error.retry_after_ms = Some(retry.as_millis() as u64);
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
        let draft = model.draft.as_ref().and_then(|draft| draft.path.clone().ok());
        let pace = if self.is_computing() { engine::Pace::Shared } else { engine::Pace::Alone };
        let load = Load { path: model.path.clone(), prefix_bytes: self.limits.prefixes, draft, pace };
        self.effects.push(Effect::Send(engine, Command::Load(load)));
        let key = model.key();
        let resident = Resident::new(model, engine, keep_alive, now);
        self.residents.insert(key, resident);
    }

    /// Whether any model has a request that runs.
    fn is_computing(&self) -> bool {
        self.residents.values().any(|resident| !resident.rows().is_empty())
    }

    fn ready(&mut self, key: &Key, loaded: Loaded, now: Instant) {
        let Some(resident) = self.residents.get_mut(key).filter(|resident| resident.phase == Phase::Loading) else {
            return;
        };
        if let Some(why) = &loaded.draft_refused {
            tracing::warn!(model = %key.id, "the model is loaded without its draft: {why}");
        }
        resident.phase = Phase::Ready;
        resident.loaded = Some(loaded);
        resident.ready_at = now;
        resident.idle_since = now;
        for ticket in std::mem::take(&mut resident.tickets) {
            self.effects.push(Effect::Answer(ticket, Ok(())));
        }
        self.effects.push(Effect::Tell(ModelChange::Loaded { model: key.id.clone() }));
        self.fill(key, now);
    }

    /// One of several samples ended: its row is free.
    fn sample_ended(&mut self, key: &Key, sequence: SequenceId, now: Instant) {
        let Some(running) = self.residents.get_mut(key).and_then(|resident| resident.running_mut(sequence)) else {
            return;
        };
        running.rows = running.rows.saturating_sub(1).max(1);
        self.fill(key, now);
    }

    fn end(&mut self, key: &Key, sequence: SequenceId, last: impl FnOnce(&Running) -> Update, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        let Some(place) = resident.running.iter().position(|running| running.sequence == sequence) else { return };
        let running = resident.running.remove(place);
        resident.idle_since = now;
        self.pace.note(now);
        self.update(sequence, last(&running));
        self.fill(key, now);
        self.memory_changed(now);
    }

    fn fail_all(&mut self, key: &Key, error: &ErrorData) {
        self.fail_waiting(key, error);
        self.fail_running(key, error);
    }

    fn fail_running(&mut self, key: &Key, error: &ErrorData) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        for running in resident.running.drain(..) {
            self.effects.push(Effect::Update(running.sequence, Update::Failed(error.clone())));
        }
    }

    fn fail_waiting(&mut self, key: &Key, error: &ErrorData) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        for job in resident.waiting.clear() {
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

#[cfg(test)]
#[path = "batch_tests.rs"]
mod batch_tests;
