//! How models leave: asked to, after their time, with their engine, or to be deleted.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Instant;

use engine::{Command, Finished};
use protocol::{ErrorData, Force, Kind, ModelChange, ModelId, UnloadReason};

use super::super::failure::shutting_down;
use super::super::resident::{Effect, EngineId, Phase, Resident, Ticket, Update};
use super::Residency;
use crate::local::Key;

/// Models that are about to be deleted, by folder: nothing new of them is taken.
#[derive(Debug, Default)]
pub(super) struct Closing(HashMap<String, Closed>);

#[derive(Debug)]
struct Closed {
    /// Lives as long as somebody means to delete the model.
    hold: Weak<()>,
    /// To be answered when no engine holds the model.
    ticket: Option<Ticket>,
}

impl Closing {
    /// Refuses a model that is about to be deleted.
    pub(super) fn admit(&self, id: &ModelId) -> Result<(), ErrorData> {
        match self.0.get(&id.folder()) {
            Some(closed) if closed.hold.strong_count() > 0 => {
                Err(ErrorData::new(Kind::ModelNotFound, format!("{id} is being deleted")))
            }
            _ => Ok(()),
        }
    }
}

impl Residency {
    /// Gives a model's memory back unless somebody needs it. False when it was not resident.
    pub fn unload(&mut self, id: &ModelId) -> Result<(bool, Vec<Effect>), ErrorData> {
        let keys: Vec<Key> = self.residents.keys().filter(|key| key.id == *id).cloned().collect();
        if let Some(needed) = keys.iter().map(|key| &self.residents[key]).find(|resident| !resident.is_idle()) {
            return Err(in_use(needed));
        }
        for key in &keys {
            self.retire(key, UnloadReason::Requested);
        }
        Ok((!keys.is_empty(), self.take()))
    }

    /// Takes nothing more of a model as long as `hold` lives, has it unloaded, and answers the ticket when no engine
    /// holds it. Refused when somebody needs it and there is no force.
    pub fn close(&mut self, id: &ModelId, force: Option<Force>, hold: Weak<()>, ticket: Ticket) -> Vec<Effect> {
        if let Err(error) = self.may_close(id, force) {
            self.effects.push(Effect::Answer(ticket, Err(error)));
            return self.take();
        }
        if force == Some(Force::Cancel) {
            for key in self.aliases(id) {
                self.cancel_all(&key);
            }
        }
        self.closing.0.insert(id.folder(), Closed { hold, ticket: Some(ticket) });
        self.take()
    }

    /// Takes the end of an engine process; `how` says what it left behind.
    pub fn gone(&mut self, engine: EngineId, how: &str, now: Instant) -> Vec<Effect> {
        let Some(key) = self.model_of(engine) else { return Vec::new() };
        let Some(resident) = self.residents.get_mut(&key) else { return Vec::new() };
        let was = resident.phase;
        let (reason, mut lost) = resident.leaving.take().unwrap_or((UnloadReason::EngineLost, None));
        if was != Phase::Unloading {
            let retry = self.crashes.note(&key, now);
            let mut error =
                ErrorData::new(Kind::EngineLost, format!("the engine of {} ended: {how}; try again", key.id));
            error.retry_after_ms = Some(retry.as_millis() as u64);
            self.fail_running(&key, &error);
            // An engine that dies while it loads, or again and again, would keep what waits waiting: say so instead.
            if was == Phase::Loading || !retry.is_zero() {
                self.fail_all(&key, &error);
            }
            lost = Some(error);
        }
        self.told_unloaded(key.id.clone(), reason, lost);
        let model = self.residents.remove(&key).filter(|resident| !resident.is_idle());
        if let Some(resident) = model {
            self.succeed(resident, now);
        }
        self.memory_changed(now);
        self.take()
    }

    /// Takes nothing new from here on, and refuses what waits.
    pub fn drain(&mut self, now: Instant) -> Vec<Effect> {
        self.draining = true;
        let keys: Vec<Key> = self.residents.keys().cloned().collect();
        for key in keys {
            self.fail_waiting(&key, &shutting_down());
            self.fill(&key, now);
        }
        self.take()
    }

    /// Whether no request runs.
    pub fn is_quiet(&self) -> bool {
        self.residents.values().all(|resident| resident.running.is_empty())
    }

    /// Ends every engine; requests that still run fail.
    pub fn end_all(&mut self) -> Vec<Effect> {
        let keys: Vec<Key> = self.residents.keys().cloned().collect();
        for key in keys {
            self.fail_all(&key, &shutting_down());
            self.retire(&key, UnloadReason::ShuttingDown);
            // Nobody hears of the end of its process any more.
            self.told_unloaded(key.id, UnloadReason::ShuttingDown, None);
        }
        self.take()
    }

    fn may_close(&self, id: &ModelId, force: Option<Force>) -> Result<(), ErrorData> {
        if self.draining {
            return Err(shutting_down());
        }
        self.closing.admit(id)?;
        let aliases = self.aliases(id);
        let needed = self.residents.iter().find(|(key, resident)| aliases.contains(key) && !resident.is_idle());
        match needed {
            Some((_, resident)) if force.is_none() => Err(in_use(resident)),
            _ => Ok(()),
        }
    }

    /// Unloads what is to be deleted as soon as nobody needs it, and says when it is gone.
    pub(super) fn settle(&mut self) {
        self.closing.0.retain(|_, closed| closed.hold.strong_count() > 0);
        let folders: Vec<String> = self.closing.0.keys().cloned().collect();
        for folder in folders {
            let keys: Vec<Key> = self.residents.keys().filter(|key| key.id.folder() == folder).cloned().collect();
            for key in &keys {
                if self.residents[key].is_idle() {
                    self.retire(key, UnloadReason::Deleted);
                }
            }
            let ticket = self.closing.0.get_mut(&folder).filter(|_| keys.is_empty()).and_then(|it| it.ticket.take());
            self.effects.extend(ticket.map(|ticket| Effect::Answer(ticket, Ok(()))));
        }
    }

    /// Residents of the folder that the id names.
    fn aliases(&self, id: &ModelId) -> Vec<Key> {
        self.residents.keys().filter(|key| key.id.folder() == id.folder()).cloned().collect()
    }

    fn cancel_all(&mut self, key: &Key) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        let engine = resident.engine;
        let running = resident.running.iter().map(|running| running.sequence);
        self.effects.extend(running.map(|sequence| Effect::Send(engine, Command::Cancel(sequence))));
        for job in resident.waiting.clear() {
            let (sequence, prompt) = (job.work.sequence(), job.work.prompt_tokens());
            self.update(sequence, Update::Finished(Finished::before_its_start(sequence, prompt)));
        }
        self.fail_waiting(key, &ErrorData::new(Kind::Cancelled, format!("{} is being deleted", key.id)));
    }

    /// Fails everything of a model that cannot be served, and unloads it.
    pub(super) fn refuse(&mut self, key: &Key, error: ErrorData) {
        self.fail_all(key, &error);
        self.retire(key, UnloadReason::LoadFailed);
        if let Some(resident) = self.residents.get_mut(key) {
            resident.leaving = Some((UnloadReason::LoadFailed, Some(error)));
        }
    }

    pub(super) fn retire(&mut self, key: &Key, reason: UnloadReason) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        if resident.phase != Phase::Unloading {
            resident.phase = Phase::Unloading;
            resident.leaving = Some((reason, None));
            self.effects.push(Effect::Retire(resident.engine));
        }
    }

    fn told_unloaded(&mut self, model: ModelId, reason: UnloadReason, error: Option<ErrorData>) {
        self.effects.push(Effect::Tell(ModelChange::Unloaded { model, reason, error }));
    }

    /// Gives what waited at an engine that is gone a new one.
    fn succeed(&mut self, gone: Resident, now: Instant) {
        let key = gone.model.key();
        self.begin(gone.model, gone.keep_alive, now);
        let resident = self.residents.get_mut(&key).expect("begun above");
        resident.is_stay_asked = gone.is_stay_asked;
        resident.waiting = gone.waiting;
        resident.tickets = gone.tickets;
    }
}

/// Why a model that somebody needs is not unloaded.
fn in_use(resident: &Resident) -> ErrorData {
    let id = &resident.model.id;
    let (running, waiting) = (resident.running.len(), resident.waiting.len());
    let message = if running + waiting == 0 {
        format!("{id} is being loaded for somebody; unload it when that is done")
    } else {
        format!("{id} has {running} running and {waiting} waiting requests; cancel them or wait for them to end")
    };
    ErrorData::new(Kind::ModelInUse, message)
}
