//! Memory: who gets how much of one budget, and who makes room.
//!
//! A model that was looked at waits until there is room for it, and a request until there is room for all that it may grow
//! to. Room is made by [`budget`](super::super::budget): kept prefixes are given back, then idle models leave. One that
//! still finds none waits for others to end; when it has waited for [`PATIENCE`], models that are in use begin nothing more
//! until it has found room, so that steady work of one model does not keep another out for ever.

use std::time::{Duration, Instant};

use engine::{Command, DeviceMemory, Needs, SequenceId};
use protocol::{ErrorData, KeepAlive, Kind, MemoryPool, MemoryStatus, Pressure, UnloadReason};

use super::super::budget::{Holder, Room, find};
use super::super::resident::{Effect, Phase, Resident, Update, Wish};
use super::super::running::Running;
use super::Residency;
use crate::backend::Backend;
use crate::local::Key;
use crate::memory::Level;

/// How long a wish waits before those in use make room for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How soon to try again while the machine runs short.
const PRESSURE_RETRY: Duration = Duration::from_secs(10);

impl Residency {
    /// Takes what a model needs, and lets it load as soon as there is room.
    pub(super) fn needs(&mut self, key: &Key, needs: Needs, now: Instant) {
        let device = match needs.device {
            // What of it is free grows by what is given back.
            DeviceMemory::Own(free) => DeviceMemory::Own(free + self.used(key.backend)),
            device => device,
        };
        self.devices.insert(key.backend, device);
        if let Some(resident) = self.residents.get_mut(key) {
            resident.needs = Some(needs);
            resident.wish = Wish::Since(now);
        }
        self.grant(key, now);
    }

    /// Lets a model load if there is room, or makes some.
    fn grant(&mut self, key: &Key, now: Instant) {
        let Some(resident) = self.residents.get(key).filter(|resident| resident.phase == Phase::Loading) else {
            return;
        };
        let (Some(needs), Wish::Since(_)) = (resident.needs, resident.wish) else { return };
        let draft = resident.draft().0.map_or(String::new(), |draft| format!(" with its draft {draft}"));
        match self.find(key, needs.bytes()) {
            Room::Never(pinned) => {
                let error = too_large(&format!("{}{draft}", key.id), needs, self.budget_of(key), pinned);
                self.refuse(key, error);
            }
            room if self.is_made(&room, now) => {
                let Some(resident) = self.residents.get_mut(key) else { return };
                resident.wish = Wish::Granted;
                resident.signs(now);
                self.effects.push(Effect::Send(resident.engine, Command::Proceed));
            }
            _ => {}
        }
    }

    /// Whether a request may begin, which else waits, or fails where there never is room for it.
    pub(super) fn may_start(&mut self, key: &Key, sequence: SequenceId, now: Instant) -> Begin {
        let Some(resident) = self.residents.get(key) else { return Begin::Later };
        if resident.yields {
            return Begin::Later;
        }
        let Some(job) = resident.waiting.iter().find(|job| job.work.sequence() == sequence) else {
            return Begin::Later;
        };
        let tokens = job.tokens().1;
        let bytes = resident.kept_bytes(tokens, job.rows(), job.kv_bits());
        match self.find(key, bytes) {
            Room::Never(pinned) => Begin::Never(grows_too_large(key, tokens, bytes, self.budget_of(key), pinned)),
            room if self.is_made(&room, now) => {
                self.wish(key, Wish::Granted);
                Begin::Now
            }
            _ => {
                self.wish(key, Wish::Since(now));
                Begin::Later
            }
        }
    }

    /// Whether one that is paused may grow again.
    pub(super) fn may_resume(&mut self, key: &Key, sequence: SequenceId, now: Instant) -> bool {
        let Some(resident) = self.residents.get(key) else { return false };
        let Some(running) = resident.running.iter().find(|running| running.sequence == sequence) else { return false };
        let of = |tokens| resident.kept_bytes(tokens, running.rows, running.kv_bits);
        let more = of(running.grows.1).saturating_sub(of(running.reserved()));
        let room = self.find(key, more);
        // What was promised once is kept, if nothing else runs that could end.
        matches!(room, Room::Never(_)) || self.is_made(&room, now)
    }

    /// Does what waited for memory, now that some was given back: whoever has waited longest first.
    pub(super) fn memory_changed(&mut self, now: Instant) {
        let mut wishes: Vec<(Instant, Key)> = Vec::new();
        for (key, resident) in &self.residents {
            if let Wish::Since(since) = resident.wish {
                wishes.push((since, key.clone()));
            }
        }
        wishes.sort();
        for (_, key) in &wishes {
            self.grant(key, now);
            self.fill(key, now);
        }
        // Those that are paused wish for nothing, and go on where there is room again.
        let has_paused = |resident: &Resident| resident.running.iter().any(|running| running.paused.is_some());
        let paused: Vec<Key> =
            self.residents.iter().filter(|(_, resident)| has_paused(resident)).map(|(key, _)| key.clone()).collect();
        for key in paused {
            self.fill(&key, now);
        }
        self.stop_yielding(now);
    }

    /// When [`Residency::expire`] has to look at wishes: never where nobody can be held up for them, or somebody is already.
    pub(super) fn next_wish(&self) -> Option<Instant> {
        if self.residents.values().any(|resident| resident.yields) {
            return None;
        }
        let waits = |(key, resident): (&Key, &Resident)| {
            let since = resident.waits_for_memory()?;
            let helps = self.residents.iter().any(|(other, resident)| other != key && may_yield(resident));
            helps.then_some(since + PATIENCE)
        };
        self.residents.iter().filter_map(waits).min()
    }

    /// Has those in use begin nothing more, once somebody has waited for their memory for too long.
    pub(super) fn hold_up(&mut self, now: Instant) {
        let waits_long = |resident: &Resident| resident.waits_for_memory().is_some_and(|since| since + PATIENCE <= now);
        let Some(waiting) = self.residents.iter().find(|(_, it)| waits_long(it)).map(|(key, _)| key.clone()) else {
            return;
        };
        for (key, resident) in &mut self.residents {
            resident.yields = *key != waiting && may_yield(resident);
        }
        self.memory_changed(now);
    }

    /// Lets all begin again where nobody waits for memory any more.
    pub(super) fn stop_yielding(&mut self, now: Instant) {
        let waits = |resident: &Resident| resident.waits_for_memory().is_some() && !resident.yields;
        if self.residents.values().any(waits) {
            return;
        }
        let held: Vec<Key> =
            self.residents.iter().filter(|(_, resident)| resident.yields).map(|(key, _)| key.clone()).collect();
        for key in held {
            if let Some(resident) = self.residents.get_mut(&key) {
                resident.yields = false;
            }
            self.fill(&key, now);
        }
    }

    /// Takes how short memory is: at the soft level caches are given back and background work stands still, at the hard one
    /// idle models leave too, and nothing new is taken.
    pub fn pressure(&mut self, level: Level, now: Instant) -> Vec<Effect> {
        let rises = level > self.pressure;
        self.pressure = level;
        let keys: Vec<Key> = self.residents.keys().cloned().collect();
        for key in keys {
            if rises {
                self.trim(&key, now);
                self.pause_background(&key, now);
            }
            if level == Level::Hard {
                self.retire_idle(&key);
            }
            self.fill(&key, now);
        }
        self.take()
    }

    /// Refuses what is new while the machine is about to stand still.
    pub(super) fn under_pressure(&self) -> Result<(), ErrorData> {
        if self.pressure < Level::Hard {
            return Ok(());
        }
        let words = "this machine runs short of memory; close what needs much of it, or try again later";
        let mut error = ErrorData::new(Kind::MemoryPressure, words);
        error.retry_after_ms = Some(PRESSURE_RETRY.as_millis() as u64);
        Err(error)
    }

    /// How much of it models take.
    pub fn memory(&self) -> MemoryStatus {
        let pool = |backends: &[Backend]| MemoryPool {
            providers: backends.iter().map(|backend| (*backend).into()).collect(),
            budget_bytes: self.budget(backends[0]),
            held_bytes: self.holders(backends[0]).iter().map(Holder::bytes).sum(),
        };
        let is_apart = Backend::ALL.iter().any(|backend| matches!(self.device(*backend), DeviceMemory::Own(_)));
        let pools =
            if is_apart { Backend::ALL.map(|backend| pool(&[backend])).to_vec() } else { vec![pool(&Backend::ALL)] };
        let pressure = match self.pressure {
            Level::Calm => Pressure::Calm,
            Level::Soft => Pressure::Soft,
            Level::Hard => Pressure::Hard,
        };
        MemoryStatus { pressure, pools }
    }

    fn trim(&mut self, key: &Key, now: Instant) {
        let Some(resident) = self.residents.get_mut(key).filter(|it| it.phase == Phase::Ready && !it.trimming) else {
            return;
        };
        if resident.overdue_at(Duration::ZERO).is_none() {
            // Who had nothing to do begins with this.
            resident.signs(now);
        }
        resident.trimming = true;
        self.effects.push(Effect::Send(resident.engine, Command::Trim));
    }

    fn retire_idle(&mut self, key: &Key) {
        let is_idle = |resident: &Resident| {
            resident.phase == Phase::Ready && resident.is_idle() && resident.keep_alive != KeepAlive::Forever
        };
        if self.residents.get(key).is_some_and(is_idle) {
            self.retire(key, UnloadReason::MemoryPressure);
        }
    }

    /// Whether there is room already; else has it made.
    fn is_made(&mut self, room: &Room, now: Instant) -> bool {
        match room {
            Room::There => return true,
            Room::Trim(keys) => keys.iter().for_each(|key| self.trim(key, now)),
            Room::Evict(keys) => keys.iter().for_each(|key| self.retire(key, UnloadReason::Memory)),
            Room::Later | Room::Never(_) => {}
        }
        false
    }

    fn wish(&mut self, key: &Key, wish: Wish) {
        if let Some(resident) = self.residents.get_mut(key) {
            // Since when it has waited stays as it is.
            if !matches!((resident.wish, wish), (Wish::Since(_), Wish::Since(_))) {
                resident.wish = wish;
            }
        }
    }

    fn find(&self, key: &Key, bytes: u64) -> Room {
        find(self.budget_of(key), bytes, key, &self.holders(key.backend))
    }

    fn budget_of(&self, key: &Key) -> u64 {
        self.budget(key.backend)
    }

    /// What all models may take that lie where those of this engine do: the user's bound, else what the device says, else
    /// this machine's share.
    fn budget(&self, backend: Backend) -> u64 {
        self.limits.memory.unwrap_or(match self.device(backend) {
            DeviceMemory::Shared(bytes) | DeviceMemory::Own(bytes) => bytes,
            DeviceMemory::Processor => self.limits.machine,
        })
    }

    fn device(&self, backend: Backend) -> DeviceMemory {
        self.devices.get(&backend).copied().unwrap_or_default()
    }

    /// Bytes that the engines of this kind say that they use; of one that loads, what it has read so far.
    fn used(&self, backend: Backend) -> u64 {
        let ours = self.residents.values().filter(|resident| resident.model.backend == backend);
        let bytes = |resident: &Resident| match resident.phase {
            Phase::Loading => resident.progress.0,
            Phase::Ready | Phase::Unloading => resident.memory.active_bytes + resident.memory.cache_bytes,
        };
        ours.map(bytes).sum()
    }

    /// All that hold memory where the models of this engine lie.
    fn holders(&self, backend: Backend) -> Vec<Holder> {
        let has_own = |backend| matches!(self.device(backend), DeviceMemory::Own(_));
        let lies_there = |key: &Key| key.backend == backend || !(has_own(backend) || has_own(key.backend));
        self.residents.iter().filter(|(key, _)| lies_there(key)).map(|(key, it)| holder(key, it)).collect()
    }
}

/// What becomes of a request that could begin.
#[derive(Debug, PartialEq)]
pub(super) enum Begin {
    /// It begins.
    Now,
    /// It waits for memory.
    Later,
    /// It never can.
    Never(ErrorData),
}

impl Residency {
    /// Fails a request that waits.
    pub(super) fn fail(&mut self, key: &Key, sequence: SequenceId, error: ErrorData) {
        if self.residents.get_mut(key).and_then(|resident| resident.waiting.remove(sequence)).is_some() {
            self.update(sequence, Update::Failed(error));
        }
    }
}

fn holder(key: &Key, resident: &Resident) -> Holder {
    let needs = resident.needs.filter(|_| resident.phase != Phase::Loading || resident.wish == Wish::Granted);
    let weights = resident.loaded.as_ref().map(|loaded| loaded.weight_bytes);
    let model_bytes = needs.map_or(0, |needs| weights.unwrap_or(needs.weight_bytes) + needs.scratch_bytes);
    let kept = |running: &Running| resident.kept_bytes(running.reserved(), running.rows, running.kv_bits);
    let is_unused = match resident.phase {
        Phase::Ready if resident.yields => resident.running.is_empty(),
        Phase::Ready => resident.is_idle(),
        Phase::Loading | Phase::Unloading => false,
    };
    Holder {
        key: key.clone(),
        model_bytes,
        sequence_bytes: resident.running.iter().map(kept).sum(),
        prefix_bytes: resident.memory.prefix_bytes,
        idle_since: is_unused.then_some(resident.idle_since),
        is_pinned: resident.keep_alive == KeepAlive::Forever,
    }
}

/// Whether it can be held up for another.
fn may_yield(resident: &Resident) -> bool {
    resident.phase == Phase::Ready && resident.keep_alive != KeepAlive::Forever
}

fn too_large(what: &str, needs: Needs, budget: u64, pinned: u64) -> ErrorData {
    let Needs { weight_bytes, scratch_bytes, .. } = needs;
    let words = format!(
        "{what} needs {} for its weights and {} to compute with, {} together, but models may take {}{}; choose a smaller \
         model, or raise `memory` in the configuration",
        size(weight_bytes),
        size(scratch_bytes),
        size(needs.bytes()),
        size(budget),
        beside(pinned)
    );
    numbers(words, needs.bytes(), budget.saturating_sub(pinned))
}

fn grows_too_large(key: &Key, tokens: u64, bytes: u64, budget: u64, held: u64) -> ErrorData {
    let words = format!(
        "the request may grow to {tokens} tokens, which take {} beside {}, but models may take {}{}; shorten the prompt, \
         lower max_tokens or n, or set kv_bits",
        size(bytes),
        key.id,
        size(budget),
        beside(held)
    );
    numbers(words, bytes, budget.saturating_sub(held))
}

fn numbers(words: String, needed: u64, available: u64) -> ErrorData {
    let mut error = ErrorData::new(Kind::ModelTooLarge, words);
    (error.needed_bytes, error.available_bytes) = (Some(needed), Some(available));
    error
}

fn beside(held: u64) -> String {
    if held == 0 { String::new() } else { format!(", of which {} are taken by models that stay", size(held)) }
}

/// For people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{bytes} bytes"),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
