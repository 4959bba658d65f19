//! What is shown: two readings of the daemon become one view, with what happened between them. Nothing here asks or waits.

use protocol::{Histogram, Metrics, ModelId, ProviderId, RequestMetrics, RequestStatus, ResidencyState, Status};
use serde::Serialize;

/// What the daemon told at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    pub status: Status,
    pub metrics: Metrics,
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    pub version: String,
    pub uptime_ms: u64,
    /// Of the daemon's own process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    pub connections: u32,
    /// Absent in the first picture, which has nothing before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
    pub residents: Vec<Resident>,
    pub requests: Vec<Request>,
}

/// What happened between two readings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rates {
    pub interval_ms: u64,
    /// Requests that ended.
    pub requests_per_s: f64,
    /// Tokens of the prompts of requests that ended.
    pub prompt_tokens_per_s: f64,
    /// Tokens generated, of requests that run as well.
    pub tokens_per_s: f64,
    /// Share of the prompts that was not computed again; absent where no prompt came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_share: Option<f64>,
    /// Absent where no first token came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_p90_ms: Option<f64>,
}

/// A model in memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resident {
    pub model: ModelId,
    pub engine: ProviderId,
    pub state: ResidencyState,
    pub memory_bytes: u64,
    pub prefix_bytes: u64,
    pub running: u32,
    pub waiting: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_s: Option<f64>,
}

/// A request that waits or runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    #[serde(flatten)]
    pub status: RequestStatus,
    /// Absent where it has no reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_s: Option<f64>,
}

impl View {
    /// Of now, with what has happened since the reading before, if that is of the same daemon.
    pub fn new(before: Option<&Reading>, now: &Reading) -> Self {
        let before = before
            .filter(|before| before.status.pid == now.status.pid && before.metrics.uptime_ms < now.metrics.uptime_ms);
        let since = before.map(|before| Since { before, now });
        let Metrics { version, uptime_ms, memory_bytes, connections, residents, .. } = &now.metrics;
        let residents = residents.iter().map(|it| Resident {
            model: it.model.clone(),
            engine: it.engine.clone(),
            state: it.state,
            memory_bytes: it.active_bytes,
            prefix_bytes: it.prefix_bytes,
            running: it.running,
            waiting: it.waiting,
            tokens_per_s: since.as_ref().map(|since| since.tokens_of(&it.model, &it.engine)),
        });
        let requests = now.status.requests.iter().map(|it| Request {
            status: it.clone(),
            tokens_per_s: since.as_ref().and_then(|since| since.tokens_of_request(it)),
        });
        Self {
            version: version.clone(),
            uptime_ms: *uptime_ms,
            memory_bytes: *memory_bytes,
            connections: *connections,
            rates: since.as_ref().map(Since::rates),
            residents: residents.collect(),
            requests: requests.collect(),
        }
    }
}

/// Two readings of one daemon.
struct Since<'a> {
    before: &'a Reading,
    now: &'a Reading,
}

impl Since<'_> {
    fn rates(&self) -> Rates {
        let (before, now) = (&self.before.metrics, &self.now.metrics);
        let prompt = grown(before, now, |it| it.prompt_tokens);
        let cached = grown(before, now, |it| it.cached_tokens);
        let ended = grown(before, now, |it| it.outcomes.values().sum());
        let first = first_tokens(now).since(&first_tokens(before));
        Rates {
            interval_ms: self.interval_ms(),
            requests_per_s: self.per_second(ended),
            prompt_tokens_per_s: self.per_second(prompt),
            tokens_per_s: self.per_second(self.tokens(|_, _| true)),
            cached_share: (prompt > 0).then(|| cached as f64 / prompt as f64),
            first_token_p50_ms: first.p50,
            first_token_p90_ms: first.p90,
        }
    }

    fn tokens_of(&self, model: &ModelId, engine: &ProviderId) -> f64 {
        self.per_second(self.tokens(|of, by| of == Some(model) && by == Some(engine)))
    }

    fn tokens_of_request(&self, now: &RequestStatus) -> Option<f64> {
        let before = self.before.status.requests.iter().find(|before| before.request_id == now.request_id)?;
        Some(self.per_second(u64::from(now.completion_tokens.saturating_sub(before.completion_tokens))))
    }

    /// Tokens that were generated between the two, by some of all requests: those of a request that has ended are told
    /// with the counts, and those of one that runs with its state.
    fn tokens(&self, is_wanted: impl Fn(Option<&ModelId>, Option<&ProviderId>) -> bool) -> u64 {
        let all = |reading: &Reading| -> u64 {
            let ended = reading.metrics.requests.iter();
            let ended = ended.filter(|it| is_wanted(it.model.as_ref(), it.engine.as_ref()));
            let running = reading.status.requests.iter();
            let running = running.filter(|it| is_wanted(Some(&it.model), Some(&it.provider)));
            ended.map(|it| it.completion_tokens).sum::<u64>()
                + running.map(|it| u64::from(it.completion_tokens)).sum::<u64>()
        };
        // The two are not read at the very same moment: one that ends in between may be missing once.
        all(self.now).saturating_sub(all(self.before))
    }

    fn interval_ms(&self) -> u64 {
        self.now.metrics.uptime_ms - self.before.metrics.uptime_ms
    }

    /// To one place.
    fn per_second(&self, count: u64) -> f64 {
        (count as f64 * 10_000.0 / self.interval_ms() as f64).round() / 10.0
    }
}

/// By how much a count of all requests has grown.
fn grown(before: &Metrics, now: &Metrics, count: impl Fn(&RequestMetrics) -> u64) -> u64 {
    let all = |metrics: &Metrics| metrics.requests.iter().map(&count).sum::<u64>();
    all(now).saturating_sub(all(before))
}

/// Times to the first token of all requests.
fn first_tokens(metrics: &Metrics) -> Histogram {
    metrics.requests.iter().fold(Histogram::default(), |all, it| all.with(&it.first_token_ms))
}

#[cfg(test)]
#[path = "view_tests.rs"]
pub(super) mod tests;
