//! `daemon.metrics`: what was counted since the start, and what is so now.
//!
//! Counts only grow, so what happened between two calls is their difference; those of a daemon that has begun anew are
//! less than before.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::models::{ModelId, ResidencyState};
use crate::providers::ProviderId;

/// Everything that is counted and measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// Version of the daemon.
    pub version: String,
    /// Since its start, in milliseconds.
    pub uptime_ms: u64,
    /// Memory of the daemon's own process, in bytes; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Connections now open.
    pub connections: u32,
    /// Requests that run on servers now.
    pub server_requests: u32,
    /// Models in memory now, by id.
    pub residents: Vec<ResidentMetrics>,
    /// Requests that ended, by model, engine and priority.
    pub requests: Vec<RequestMetrics>,
    /// Loads and unloads, by model.
    pub models: Vec<ModelMetrics>,
    /// Downloads that ended.
    pub pulls: PullMetrics,
}

/// A model in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResidentMetrics {
    /// Which.
    pub model: ModelId,
    /// What runs it.
    pub engine: ProviderId,
    /// What it is doing.
    pub state: ResidencyState,
    /// Bytes of live arrays in the engine.
    pub active_bytes: u64,
    /// Most of them so far.
    pub peak_bytes: u64,
    /// Bytes that its allocator holds for reuse.
    pub cache_bytes: u64,
    /// Of the live arrays, those of kept prefixes.
    pub prefix_bytes: u64,
    /// Requests that run.
    pub running: u32,
    /// Requests that wait.
    pub waiting: u32,
}

/// Requests that ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestMetrics {
    /// Their model; `other` once there are 64; absent for those that ended before it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// What ran them: an engine, or a server; `other` once there are 16; absent where nobody was asked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<ProviderId>,
    /// How urgent they were; absent where that is not told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// How many ended how: a finish reason, the kind of an error, or `abandoned`.
    pub outcomes: BTreeMap<String, u64>,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Of these, the ones that were kept from earlier work and not computed again.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Waited for other requests, in milliseconds.
    pub queue_ms: Histogram,
    /// Waited for the model to load, in milliseconds; only those that did.
    pub load_ms: Histogram,
    /// From the arrival to the first token, in milliseconds.
    pub first_token_ms: Histogram,
    /// From one token to the next, the mean of each request, in milliseconds.
    pub token_ms: Histogram,
    /// From the arrival to the end, in milliseconds.
    pub total_ms: Histogram,
}

/// What became of a model in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelMetrics {
    /// Which; `other` once there are 64.
    pub model: ModelId,
    /// Times that it was loaded.
    pub loads: u64,
    /// Times that it could not be loaded.
    pub load_failures: u64,
    /// Times that it left the memory, by reason, as of the event `unloaded`.
    pub unloads: BTreeMap<String, u64>,
    /// Of the loads, those in the place of an engine that was lost.
    pub engine_restarts: u64,
}

/// Downloads that ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullMetrics {
    /// Their model is installed.
    pub finished: u64,
    /// They could not go on.
    pub failed: u64,
    /// Bytes of those that are finished.
    pub finished_bytes: u64,
}

/// Values by size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// How many.
    pub count: u64,
    /// All of them together.
    pub sum: f64,
    /// How many are no larger than each bound; the bounds rise.
    pub buckets: Vec<Bucket>,
    /// Half of the values are about this or less: estimated from the buckets, absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// The same for nine tenths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90: Option<f64>,
    /// The same for 99 of 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

/// Values up to a bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// The bound.
    pub le: f64,
    /// How many are no larger.
    pub count: u64,
}

impl Histogram {
    /// Of values that were counted up to each bound.
    pub fn new(count: u64, sum: f64, buckets: Vec<Bucket>) -> Self {
        let mut histogram = Self { count, sum, buckets, ..Self::default() };
        [histogram.p50, histogram.p90, histogram.p99] = [0.5, 0.9, 0.99].map(|share| histogram.quantile(share));
        histogram
    }

    /// The value that this share of all values, 0 to 1, does not exceed, as if they lay evenly within each bucket. Of
    /// values beyond the last bound, that bound.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = share * self.count as f64;
        let mut below = Bucket { le: 0.0, count: 0 };
        for bucket in &self.buckets {
            if bucket.count > 0 && bucket.count as f64 >= rank {
                let within = (rank - below.count as f64) / bucket.count.saturating_sub(below.count).max(1) as f64;
                return Some(below.le + (bucket.le - below.le) * within.clamp(0.0, 1.0));
            }
            below = *bucket;
        }
        self.buckets.last().map(|bucket| bucket.le)
    }

    /// The values that came after `earlier`, which has the same bounds; all of them where it has others, or has more, as
    /// that of a daemon that has ended.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = || self.buckets.iter().zip(&earlier.buckets);
        let is_earlier = self.buckets.len() == earlier.buckets.len()
            && self.count >= earlier.count
            && pairs().all(|(now, then)| now.le.total_cmp(&then.le).is_eq() && now.count >= then.count);
        if !is_earlier {
            return self.clone();
        }
        let buckets = pairs().map(|(now, then)| Bucket { le: now.le, count: now.count - then.count }).collect();
        Self::new(self.count - earlier.count, self.sum - earlier.sum, buckets)
    }

    /// The values of both, which have the same bounds.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        if self.buckets.len() != other.buckets.len() {
            return if self.count == 0 { other.clone() } else { self.clone() };
        }
        let pairs = self.buckets.iter().zip(&other.buckets);
        let buckets = pairs.map(|(one, two)| Bucket { le: one.le, count: one.count + two.count }).collect();
        Self::new(self.count + other.count, self.sum + other.sum, buckets)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
