//! What happens because time goes by: models leave, requests have waited or taken too long, and better places are told.

use std::time::{Duration, Instant};

use engine::{Command, FinishReason, Finished, SequenceId};
use protocol::{ErrorData, Kind, UnloadReason};

use super::super::resident::{Effect, Job, Phase, Resident, Update};
use super::super::running::Running;
use super::Residency;
use crate::local::Key;

impl Residency {
    /// Does what is due by now.
    pub fn expire(&mut self, now: Instant) -> Vec<Effect> {
        self.hold_up(now);
        let keys: Vec<Key> = self.residents.keys().cloned().collect();
        for key in keys {
            self.kill_silent(&key, now);
            self.give_up(&key, now);
            self.end_overdue(&key, now);
            self.fill(&key, now);
            self.tell_better(&key, now);
            if self.residents.get(&key).and_then(Resident::expires_at).is_some_and(|deadline| deadline <= now) {
                self.retire(&key, UnloadReason::Idle);
            }
        }
        // Whoever was waited for may have given up.
        self.stop_yielding(now);
        self.take()
    }

    /// When [`Residency::expire`] has something to do next.
    pub fn next_expiry(&self) -> Option<Instant> {
        let deadlines = |resident: &Resident| resident.running.iter().filter_map(|running| running.deadline).min();
        let next = |resident: &Resident| {
            let silent = resident.overdue_at(self.limits.silence);
            [resident.expires_at(), resident.waiting.wakes_at(), deadlines(resident), silent]
                .into_iter()
                .flatten()
                .min()
        };
        self.residents.values().filter_map(next).chain(self.next_wish()).min()
    }

    /// Has an engine killed that hangs: it has work, and has done no step of it for too long.
    fn kill_silent(&mut self, key: &Key, now: Instant) {
        let silence = self.limits.silence;
        let Some(resident) = self.residents.get_mut(key) else { return };
        if resident.overdue_at(silence).is_some_and(|overdue| overdue <= now) {
            resident.sign = None;
            let words = format!("it hung: it had work and did no step of it for {} s", silence.as_secs());
            self.effects.push(Effect::Kill(resident.engine, words));
        }
    }

    /// Fails what has waited for too long.
    fn give_up(&mut self, key: &Key, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        let given_up = resident.waiting.expire(now);
        if given_up.is_empty() {
            return;
        }
        resident.waiting.changed(now);
        if resident.phase == Phase::Ready && resident.is_idle() {
            resident.idle_since = now;
        }
        let retry = self.pace.next(now);
        for job in given_up {
            let error = waited_too_long(&job, now, retry);
            self.update(job.work.sequence(), Update::Failed(error));
        }
    }

    /// Has the engine end what runs beyond its deadline.
    fn end_overdue(&mut self, key: &Key, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        let engine = resident.engine;
        for running in &mut resident.running {
            if running.deadline.is_some_and(|deadline| deadline <= now) {
                (running.deadline, running.overdue) = (None, true);
                self.effects.push(Effect::Send(engine, Command::Cancel(running.sequence)));
            }
        }
    }

    fn tell_better(&mut self, key: &Key, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else { return };
        let rows = resident.rows();
        let better: Vec<(SequenceId, u32)> = resident.waiting.better(&rows, now);
        for (sequence, place) in better {
            self.update(sequence, Update::Queued(place));
        }
    }
}

/// The last word on a request that an engine has ended.
pub(super) fn last(running: &Running, finished: Finished) -> Update {
    match finished.reason {
        _ if !running.overdue => Update::Finished(finished),
        FinishReason::Cancelled if running.tokens == 0 => {
            let words = "its deadline_ms were over before it had a result; give it more time, or try again later";
            Update::Failed(ErrorData::new(Kind::Timeout, words))
        }
        _ => Update::Cut(finished),
    }
}

/// Why a request is not begun.
pub(super) fn waited_too_long(job: &Job, now: Instant, retry: Duration) -> ErrorData {
    let field = if job.deadline().is_some_and(|deadline| deadline <= now) { "deadline_ms" } else { "queue_timeout_ms" };
    let words = format!(
        "the request waited for {} for {} ms, longer than its {field} allow; try again later",
        job.model.id,
        now.saturating_duration_since(job.arrived).as_millis()
    );
    let mut error = ErrorData::new(Kind::Timeout, words);
    error.retry_after_ms = Some(retry.as_millis() as u64);
    error
}
