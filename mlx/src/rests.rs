//! Rests of a load on a processor where other models decode: half as long again as the work before them. Decoding there is bound by
//! memory, which a load writes as fast as it can; how the system shares out processors does not help against that.

use std::thread;
use std::time::{Duration, Instant};

use engine::Pace;
use engine::message::DeviceMemory;

/// Since when it has worked; `None` where it need not rest.
pub struct Rests(Option<Instant>);

impl Rests {
    /// Of a load that begins now. Where the model lies on a GPU nobody waits for it.
    pub fn new(pace: Pace, memory: DeviceMemory, now: Instant) -> Self {
        Self((pace == Pace::Shared && memory == DeviceMemory::Processor).then_some(now))
    }

    /// To be called again and again.
    pub fn take(&mut self) {
        let due = self.due(Instant::now());
        if !due.is_zero() {
            thread::sleep(due);
            self.0 = Some(Instant::now());
        }
    }

    fn due(&self, now: Instant) -> Duration {
        self.0.map_or(Duration::ZERO, |since| now.saturating_duration_since(since) * 3 / 2)
    }
}

#[cfg(test)]
#[path = "rests_tests.rs"]
mod tests;
