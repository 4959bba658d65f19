//! Who of those that wait begins now, and who makes room for it.
//!
//! An engine runs as many rows as its batch has; a request wider than that runs alone. Requests begin in the order of their
//! [`Queue`](super::super::queue::Queue); one that is paused goes before others that are no more urgent. The one whose turn
//! it is waits until there is room for it, and so do all behind it, so that wide ones are not passed by for ever. Only one
//! that came as interactive does not wait for its turn where pausing background ones makes room for it. What is paused is
//! bounded by the batch; and of background work that has waited for a step, an eighth of the batch is never paused, so that
//! it gets on.

use std::cmp::Reverse;
use std::time::Instant;

use engine::{Command, SequenceId};
use protocol::Priority;

use super::super::resident::{Effect, Job, Resident, Update};
use super::super::running::Running;
use super::Residency;
use super::memory::Begin;
use crate::local::Key;
use crate::memory::Level;

/// What happens next at an engine.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    /// A waiting request begins, after these are paused.
    Start(SequenceId, Vec<SequenceId>),
    /// A paused request goes on.
    Resume(SequenceId),
}

/// Rows of an engine.
#[derive(Debug, Clone, Copy)]
struct Batch {
    size: u32,
    used: u32,
}

impl Batch {
    fn free(self) -> u32 {
        self.size.saturating_sub(self.used)
    }

    fn fits(self, rows: u32) -> bool {
        rows <= self.free() || self.used == 0
    }
}

impl Residency {
    /// Has everything begin that may.
    pub(super) fn fill(&mut self, key: &Key, now: Instant) {
        if let Some(resident) = self.residents.get_mut(key) {
            resident.forget_wish();
        }
        // What made room for somebody does not take it back at once.
        let mut gave_way = Vec::new();
        while let Some(resident) = self.residents.get(key).filter(|resident| resident.takes_work()) {
            match next(resident, self.limits.batch, self.pressure, &gave_way, now) {
                Some(Move::Resume(sequence)) if self.may_resume(key, sequence, now) => self.resume(key, sequence, now),
                None | Some(Move::Resume(_)) => return,
                Some(Move::Start(sequence, paused)) => match self.may_start(key, sequence, now) {
                    Begin::Now => {
                        for paused in paused {
                            self.pause(key, paused, now);
                        }
                        self.start(key, sequence, now);
                    }
                    Begin::Later => match self.pause_one(key, sequence, now) {
                        Some(paused) => gave_way.extend(paused),
                        None => return,
                    },
                    Begin::Never(error) => self.fail(key, sequence, error),
                },
            }
        }
    }

    fn start(&mut self, key: &Key, sequence: SequenceId, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        let Some(job) = resident.waiting.serve(sequence) else { return };
        let priority = priority(job.claim.priority, job.level(now));
        let load = resident.ready_at.saturating_duration_since(job.arrived);
        let queue = now.saturating_duration_since(job.arrived.max(resident.ready_at));
        if resident.running.iter().all(|running| running.paused.is_some()) {
            resident.signs(now);
        }
        resident.running.push(Running::new(&job, now));
        resident.waiting.changed(now);
        // In this order, for tokens go past the loop.
        self.effects.push(Effect::Update(sequence, Update::Started { load, queue }));
        self.effects.push(Effect::Send(resident.engine, Command::Submit(job.work, priority)));
    }

    /// Pauses a background request for an interactive one that finds no memory: what is paused keeps what it has, and not
    /// what it may grow to. Answers what is paused, if that helps.
    fn pause_one(&mut self, key: &Key, waiting: SequenceId, now: Instant) -> Option<Vec<SequenceId>> {
        // Where nothing may begin, pausing helps nobody.
        let resident = self.residents.get(key).filter(|resident| !resident.yields)?;
        let is_urgent = |priority| priority == Priority::Interactive;
        let waits = |job: &Job| job.work.sequence() == waiting && is_urgent(job.claim.priority);
        if !resident.waiting.iter().any(waits) {
            return None;
        }
        let pausing = pausable(resident, self.limits.batch, 1, now).filter(|pausing| !pausing.is_empty())?;
        for sequence in &pausing {
            self.pause(key, *sequence, now);
        }
        Some(pausing)
    }

    /// Has all background work stand still.
    pub(super) fn pause_background(&mut self, key: &Key, now: Instant) {
        let Some(resident) = self.residents.get(key) else { return };
        let runs = |running: &&Running| running.priority == Priority::Background && running.paused.is_none();
        let sequences: Vec<SequenceId> = resident.running.iter().filter(runs).map(|running| running.sequence).collect();
        for sequence in sequences {
            self.pause(key, sequence, now);
        }
    }

    fn pause(&mut self, key: &Key, sequence: SequenceId, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        let engine = resident.engine;
        if let Some(running) = resident.running_mut(sequence) {
            running.paused = Some(now);
            self.effects.push(Effect::Send(engine, Command::Pause(sequence)));
        }
    }

    fn resume(&mut self, key: &Key, sequence: SequenceId, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        let engine = resident.engine;
        if resident.running.iter().all(|running| running.paused.is_some()) {
            resident.signs(now);
        }
        if let Some(running) = resident.running_mut(sequence) {
            (running.waited, running.since, running.paused) = (running.waited(now), now, None);
            self.effects.push(Effect::Send(engine, Command::Resume(sequence)));
        }
    }
}

/// Decides; `None` where everybody has to wait for something to end. What `gave_way` stays paused.
fn next(resident: &Resident, size: u32, pressure: Level, gave_way: &[SequenceId], now: Instant) -> Option<Move> {
    // While the machine runs short of memory, work that nobody waits for stands still.
    let may_run = |priority: Priority| pressure == Level::Calm || priority != Priority::Background;
    let rows = resident.rows();
    let batch = Batch { size, used: rows.values().sum() };
    let first = resident.waiting.next(&rows, now, |job| may_run(job.claim.priority));
    let may_go_on = |running: &&Running| {
        running.paused.is_some() && may_run(running.priority) && !gave_way.contains(&running.sequence)
    };
    let paused = resident.running.iter().filter(may_go_on);
    // Of equals `max_by_key` takes the last, which from the back is the one that began first.
    let paused = paused.rev().max_by_key(|running| running.level(now));
    let paused = paused.filter(|paused| first.is_none_or(|first| first.level(now) <= paused.level(now)));
    match (paused, first) {
        (Some(paused), _) if batch.fits(paused.rows) => return Some(Move::Resume(paused.sequence)),
        (None, Some(first)) if batch.fits(first.rows()) => {
            return Some(Move::Start(first.work.sequence(), Vec::new()));
        }
        _ => {}
    }
    let urgent = resident.waiting.next(&rows, now, |job| job.claim.priority == Priority::Interactive)?;
    let sequence = urgent.work.sequence();
    // Room that is there is kept for the one whose turn it is.
    let is_its_turn = paused.is_none() && first.is_some_and(|first| first.work.sequence() == sequence);
    let needed = match urgent.rows() {
        wide if wide > size => batch.used,
        rows if is_its_turn => rows.saturating_sub(batch.free()),
        rows => rows,
    };
    pausable(resident, size, needed, now).map(|pausing| Move::Start(sequence, pausing))
}

/// Background requests that have so many rows together: those that waited least, and of these the ones that began last.
fn pausable(resident: &Resident, size: u32, needed: u32, now: Instant) -> Option<Vec<SequenceId>> {
    let (paused, running): (Vec<&Running>, Vec<&Running>) =
        resident.running.iter().partition(|running| running.paused.is_some());
    let mut room = size.saturating_sub(paused.iter().map(|paused| paused.rows).sum());
    let mut background: Vec<&Running> =
        running.into_iter().filter(|running| running.priority == Priority::Background).collect();
    background.sort_by_key(|running| (Reverse(running.waited(now)), running.since));
    let (mut kept, reserve) = (0, (size / 8).max(1));
    background.retain(|running| {
        let is_kept = kept < reserve && running.level(now) > Priority::Background;
        kept += if is_kept { running.rows } else { 0 };
        !is_kept
    });
    let (mut freed, mut pausing) = (0, Vec::new());
    for running in background.into_iter().rev() {
        if freed >= needed {
            break;
        }
        if let Some(left) = room.checked_sub(running.rows) {
            room = left;
            freed += running.rows;
            pausing.push(running.sequence);
        }
    }
    (freed >= needed).then_some(pausing)
}

/// How urgent the engine takes it: what has waited is not held up there by normal work, but by what somebody waits for.
fn priority(asked: Priority, level: Priority) -> engine::Priority {
    match (asked, level) {
        (Priority::Interactive, _) => engine::Priority::Interactive,
        (_, Priority::Background) => engine::Priority::Background,
        (_, Priority::Normal | Priority::Interactive) => engine::Priority::Normal,
    }
}
