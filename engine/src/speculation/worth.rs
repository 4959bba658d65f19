//! Whether guesses pay for themselves, and how many: from measured times, and from how often guesses are right.

use std::time::Duration;

use super::MOST_GUESSES;

/// Steps of one token that are measured before the first guess.
const FIRST: u32 = 4;

/// Guesses of a trial at least, and more only where they are likely to be right: it may cost as much as so many steps. Where it
/// costs little more than one, as on a GPU, few guesses do not show what many gain.
const TRIAL: usize = 2;

/// Tokens between two trials that did not pay; doubled from one to the next, up to the most.
const REST: u32 = 64;
const LONGEST_REST: u32 = 1024;

/// What is gained at least by a step with guesses, beside what it costs to go over to them.
const GAIN: f64 = 1.05;

/// How much a new number changes an average.
const WEIGHT: f64 = 0.2;

/// How often guesses are taken to be right before one was told.
const FIRST_HITS: f64 = 0.5;

/// Share of the time of plain steps that work done beforehand may take.
const BEFOREHAND: f64 = 0.25;

/// What a sequence has measured of one kind of guesses.
#[derive(Debug)]
pub struct Worth {
    /// Steps of one token, and their time in seconds.
    steps: u32,
    plain: f64,
    /// Of steps with 1, 2, … guesses, where there were any.
    several: [Option<f64>; MOST_GUESSES],
    /// How many guesses are right of those whose forerunners are.
    hits: f64,
    /// Tokens since the last step with guesses, and after how many its times are forgotten.
    rested: u32,
    rest: u32,
    /// Whether a guess was told of since then.
    is_told: bool,
}

impl Default for Worth {
    fn default() -> Self {
        Self {
            steps: 0,
            plain: f64::INFINITY,
            several: [None; MOST_GUESSES],
            hits: FIRST_HITS,
            rested: 0,
            rest: REST,
            is_told: false,
        }
    }
}

impl Worth {
    /// How many of `most` guesses to compute with the next step; 0 where that would not pay.
    pub fn count(&self, most: usize) -> usize {
        let most = most.min(MOST_GUESSES);
        if self.steps < FIRST {
            return 0;
        }
        if !self.is_measured() {
            // Nothing is known but that several positions take at least as long as one.
            return if self.tokens(TRIAL) > GAIN { most.min(self.likely(most).max(TRIAL)) } else { 0 };
        }
        let best = (1..=most).max_by(|a, b| self.speed(*a).total_cmp(&self.speed(*b)));
        best.filter(|best| self.speed(*best) * self.plain > GAIN).unwrap_or(0)
    }

    /// How many of `most` guesses are right more often than not, all of them together; 1 at least.
    pub fn likely(&self, most: usize) -> usize {
        let most = most.min(MOST_GUESSES);
        let likely = (1..=most).take_while(|count| self.hits.powi(*count as i32) >= FIRST_HITS).count();
        likely.max(1).min(most)
    }

    /// Tokens in a second of steps with so many guesses; 0 where none was measured.
    pub fn speed(&self, guesses: usize) -> f64 {
        if self.is_measured() { self.tokens(guesses) / self.time(guesses) } else { 0.0 }
    }

    /// Whether work that has to be done before the first guess may pay within so many tokens.
    pub fn repays(&self, beforehand: Duration, tokens: usize) -> bool {
        beforehand.as_secs_f64() < self.plain * tokens as f64 * BEFOREHAND
    }

    fn is_measured(&self) -> bool {
        self.several.iter().any(Option::is_some)
    }

    /// Takes the time of a step of one token.
    pub fn stepped(&mut self, time: Duration) {
        // The first ones may wait for what is done once.
        let time = time.as_secs_f64();
        self.plain = if self.steps < FIRST { self.plain.min(time) } else { nearer(self.plain, time) };
        self.steps += 1;
        self.rested += 1;
        if self.rested >= self.rest {
            (self.several, self.rested) = ([None; MOST_GUESSES], 0);
            self.rest = (self.rest * 2).min(LONGEST_REST);
            if !std::mem::take(&mut self.is_told) {
                // Where only computed guesses are told of, none would ever be again.
                self.hits = FIRST_HITS;
            }
        }
    }

    /// Takes the time of a step with so many guesses.
    pub fn guessed(&mut self, count: usize, time: Duration) {
        let Some(slot) = count.checked_sub(1).and_then(|place| self.several.get_mut(place)) else { return };
        let time = time.as_secs_f64();
        *slot = Some(slot.map_or(time, |old| nearer(old, time)));
        self.rested = 0;
        if self.count(MOST_GUESSES) > 0 {
            self.rest = REST;
        }
    }

    /// Takes whether a guess was right, of one whose forerunners were, computed or not.
    pub fn told(&mut self, hit: bool) {
        self.hits = nearer(self.hits, f64::from(u8::from(hit)));
        self.is_told = true;
    }

    /// Tokens that a step with so many guesses gives on average, its own included.
    fn tokens(&self, guesses: usize) -> f64 {
        (0..=guesses as i32).map(|place| self.hits.powi(place)).sum()
    }

    /// The time of a step with so many guesses: measured, or on a straight line from that of a plain one through the
    /// nearest that is.
    fn time(&self, guesses: usize) -> f64 {
        let measured = self.several.iter().zip(1..).filter_map(|(time, count)| Some((count, (*time)?)));
        let nearest = measured.min_by_key(|(count, _): &(usize, f64)| count.abs_diff(guesses));
        let Some((count, time)) = nearest else { return self.plain };
        let each = (time - self.plain).max(0.0) / count as f64;
        self.plain + each * guesses as f64
    }
}

/// A moving average.
fn nearer(old: f64, new: f64) -> f64 {
    old + (new - old) * WEIGHT
}

#[cfg(test)]
#[path = "worth_tests.rs"]
mod tests;
