//! The requests that wait for one model, and which of them is next.
//!
//! The more urgent goes first; each full [`STEP`] of waiting makes a request more urgent by one step, so that nobody waits
//! for ever. Of equally urgent ones goes that of the app with the fewest rows running, then that of the app whose turn was
//! longest ago, then the one that came first. Pure: nothing here knows what runs but what it is told.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use engine::SequenceId;
use protocol::Priority;

use super::resident::Job;
use crate::app::Source;

/// Waiting for so long makes a request more urgent by one step.
pub const STEP: Duration = Duration::from_secs(10);

/// A request is told of a better place at most this often.
const TELLING: Duration = Duration::from_millis(200);

/// Apps whose last turn is remembered although nothing of them waits.
const REMEMBERED: usize = 256;

/// How urgent something is that has waited.
pub fn aged(priority: Priority, waited: Duration) -> Priority {
    let steps = usize::try_from(waited.as_secs() / STEP.as_secs()).unwrap_or(usize::MAX);
    Priority::ALL[(priority as usize).saturating_add(steps).min(Priority::ALL.len() - 1)]
}

/// Rows that run, by app.
pub type Rows = HashMap<Source, u32>;

/// The requests that wait for one model.
#[derive(Debug, Default)]
pub struct Queue {
    /// In the order of their arrival.
    waiting: VecDeque<Waiting>,
    /// When those that do not wait for ever give up.
    ends: BTreeSet<(Instant, SequenceId)>,
    /// In which turn an app was served last; absent for never.
    served: HashMap<Source, u64>,
    /// Counts those that were served.
    turns: u64,
    /// When they were told of better places last, and when they are to be again.
    told: Option<Instant>,
    tell: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    /// The best place that it was told.
    place: u32,
}

/// The smallest goes first.
type Rank = (Reverse<Priority>, u32, u64, usize);

impl Queue {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// All that wait, in the order of their arrival.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.waiting.iter().map(|waiting| &waiting.job)
    }

    /// Takes a request, and tells its place: how many others go before it as things stand.
    pub fn push(&mut self, job: Job, rows: &Rows, now: Instant) -> u32 {
        let sequence = job.work.sequence();
        self.ends.extend(job.ends_at().map(|end| (end, sequence)));
        self.waiting.push_back(Waiting { job, place: u32::MAX });
        let place = self.order(rows, now).iter().position(|other| *other == sequence).unwrap_or_default() as u32;
        if let Some(waiting) = self.waiting.back_mut() {
            waiting.place = place;
        }
        place
    }

    /// The one that is next, of those that `only` leaves.
    pub fn next(&self, rows: &Rows, now: Instant, only: impl Fn(&Job) -> bool) -> Option<&Job> {
        let candidates = self.iter().enumerate().filter(|(_, job)| only(job));
        candidates.min_by_key(|(place, job)| self.rank(job, *place, rows, now)).map(|(_, job)| job)
    }

    /// All of them in the order in which they go, if nothing ends and nobody comes.
    pub fn order(&self, rows: &Rows, now: Instant) -> Vec<SequenceId> {
        let mut levels: BTreeMap<Reverse<Priority>, BTreeMap<Source, VecDeque<usize>>> = BTreeMap::new();
        for (place, job) in self.iter().enumerate() {
            let level = levels.entry(Reverse(job.level(now))).or_default();
            level.entry(job.claim.app.source).or_default().push_back(place);
        }
        let (mut rows, mut turn, mut served) = (rows.clone(), self.turns, HashMap::new());
        let mut order = Vec::with_capacity(self.len());
        for mut apps in levels.into_values() {
            let mut heap = BinaryHeap::new();
            let rank = |app: Source, place: usize, rows: &Rows, served: &HashMap<Source, u64>| {
                let last = served.get(&app).or(self.served.get(&app)).copied().unwrap_or_default();
                Reverse((rows.get(&app).copied().unwrap_or_default(), last, place, app))
            };
            for (app, places) in &apps {
                heap.extend(places.front().map(|place| rank(*app, *place, &rows, &served)));
            }
            while let Some(Reverse((_, _, place, app))) = heap.pop() {
                let job = &self.waiting[place].job;
                order.push(job.work.sequence());
                turn += 1;
                served.insert(app, turn);
                *rows.entry(app).or_default() += job.rows();
                let places = apps.get_mut(&app).and_then(|places| {
                    places.pop_front();
                    places.front().copied()
                });
                heap.extend(places.map(|place| rank(app, place, &rows, &served)));
            }
        }
        order
    }

    /// Takes the one whose turn it is.
    pub fn serve(&mut self, sequence: SequenceId) -> Option<Job> {
        let job = self.remove(sequence)?;
        self.turns += 1;
        self.served.insert(job.claim.app.source, self.turns);
        if self.served.len() > REMEMBERED {
            let waiting: BTreeSet<Source> = self.iter().map(|job| job.claim.app.source).collect();
            let recent = self.turns.saturating_sub(REMEMBERED as u64 / 2);
            self.served.retain(|app, turn| *turn > recent || waiting.contains(app));
        }
        Some(job)
    }

    /// Takes one out whose turn it is not.
    pub fn remove(&mut self, sequence: SequenceId) -> Option<Job> {
        let place = self.waiting.iter().position(|waiting| waiting.job.work.sequence() == sequence)?;
        let job = self.waiting.remove(place)?.job;
        self.ends.retain(|(_, other)| *other != sequence);
        Some(job)
    }

    /// Takes all of them out, in the order of their arrival.
    pub fn clear(&mut self) -> Vec<Job> {
        self.ends.clear();
        self.waiting.drain(..).map(|waiting| waiting.job).collect()
    }

    /// Takes out those that have waited for too long.
    pub fn expire(&mut self, now: Instant) -> Vec<Job> {
        let ended = self.ends.iter().take_while(|(end, _)| *end <= now).map(|(_, sequence)| *sequence);
        let ended: Vec<SequenceId> = ended.collect();
        ended.into_iter().filter_map(|sequence| self.remove(sequence)).collect()
    }

    /// Somebody left: the others may have better places now.
    pub fn changed(&mut self, now: Instant) {
        let soonest = self.told.map_or(now, |told| now.max(told + TELLING));
        self.tell = (!self.is_empty()).then(|| self.tell.unwrap_or(soonest));
    }

    /// Those that are to be told of a better place now.
    pub fn better(&mut self, rows: &Rows, now: Instant) -> Vec<(SequenceId, u32)> {
        if self.tell.is_none_or(|tell| tell > now) {
            return Vec::new();
        }
        (self.told, self.tell) = (Some(now), None);
        let order = self.order(rows, now);
        let places: HashMap<SequenceId, u32> = order.iter().copied().zip(0..).collect();
        let mut better = Vec::new();
        for waiting in &mut self.waiting {
            let sequence = waiting.job.work.sequence();
            if let Some(place) = places.get(&sequence).filter(|place| **place < waiting.place) {
                waiting.place = *place;
                better.push((sequence, *place));
            }
        }
        better
    }

    /// When somebody has waited for too long, or is to be told something.
    pub fn wakes_at(&self) -> Option<Instant> {
        let end = self.ends.first().map(|(end, _)| *end);
        end.into_iter().chain(self.tell).min()
    }

    fn rank(&self, job: &Job, place: usize, rows: &Rows, now: Instant) -> Rank {
        let app = job.claim.app.source;
        let served = self.served.get(&app).copied().unwrap_or_default();
        (Reverse(job.level(now)), rows.get(&app).copied().unwrap_or_default(), served, place)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
