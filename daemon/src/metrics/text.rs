//! Metrics as Prometheus reads them: its text format, version 0.0.4, in its units.
//!
//! The library writes the format: escapes, suffixes, types. It takes the values from one reading, not from counters of its
//! own: those cannot be read back, and the wire tells the same in JSON.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use protocol::{Histogram, Metrics, ModelMetrics, RequestMetrics, ResidentMetrics};

pub use prometheus_text::CONTENT_TYPE;

/// What tells the values of one metric apart.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// All metrics as text.
pub fn text(metrics: Metrics) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("talkied");
    registry.register_collector(Box::new(Reading(metrics)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

/// What was read once.
#[derive(Debug)]
struct Reading(Metrics);

impl Collector for Reading {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let Metrics { requests, residents, models, pulls, .. } = &self.0;
        let mut out = Out(encoder);
        out.daemon(&self.0)?;
        for (name, help, value) in RESIDENTS {
            out.gauges(name, help, residents.iter().map(|it| (of_resident(it), value(it))))?;
        }
        out.counters("requests", "Requests that ended, by how", requests.iter().flat_map(by_outcome))?;
        for (name, help, value) in TOKENS {
            out.counters(name, help, requests.iter().map(|it| (of_request(it), value(it))))?;
        }
        for (name, help, value) in TIMES {
            out.histograms(name, help, requests.iter().map(|it| (of_request(it), value(it))))?;
        }
        for (name, help, value) in MODELS {
            out.counters(name, help, models.iter().map(|it| (of_model(it), value(it))))?;
        }
        out.counters(
            "model_unloads",
            "Times that a model left the memory, by reason",
            models.iter().flat_map(by_reason),
        )?;
        let ended = [("finished", pulls.finished), ("failed", pulls.failed)];
        let ended = ended.map(|(outcome, count)| (vec![("outcome", outcome)], count));
        out.counters("pulls", "Downloads that ended, by how", ended)?;
        out.counters("pulled_bytes", "Bytes of downloads that are finished", [(vec![], pulls.finished_bytes)])
    }
}

/// A name, what it means, and where its value is.
type Of<T, V> = (&'static str, &'static str, fn(&T) -> V);

const RESIDENTS: [Of<ResidentMetrics, u64>; 6] = [
    ("resident_active_bytes", "Bytes of live arrays in the engine of a model in memory", |it| it.active_bytes),
    ("resident_peak_bytes", "Most bytes of live arrays so far", |it| it.peak_bytes),
    ("resident_cache_bytes", "Bytes that the engine's allocator holds for reuse", |it| it.cache_bytes),
    ("resident_prefix_bytes", "Of the live arrays, bytes of kept prefixes", |it| it.prefix_bytes),
    ("resident_running_requests", "Requests that run on a model in memory", |it| u64::from(it.running)),
    ("resident_waiting_requests", "Requests that wait for a model", |it| u64::from(it.waiting)),
];

const TOKENS: [Of<RequestMetrics, u64>; 3] = [
    ("prompt_tokens", "Tokens of prompts", |it| it.prompt_tokens),
    ("cached_prompt_tokens", "Tokens of prompts that were kept from earlier work", |it| it.cached_tokens),
    ("completion_tokens", "Tokens generated", |it| it.completion_tokens),
];

/// A name, what it means, and where a request's times are.
type Taken = (&'static str, &'static str, fn(&RequestMetrics) -> &Histogram);

const TIMES: [Taken; 5] = [
    ("request_queue_seconds", "Time that requests waited for others", |it| &it.queue_ms),
    ("request_load_seconds", "Time that requests waited for their model to load", |it| &it.load_ms),
    ("request_first_token_seconds", "Time from the arrival to the first token", |it| &it.first_token_ms),
    ("request_token_seconds", "Time from one token to the next, the mean of each request", |it| &it.token_ms),
    ("request_seconds", "Time from the arrival to the end", |it| &it.total_ms),
];

const MODELS: [Of<ModelMetrics, u64>; 3] = [
    ("model_loads", "Times that a model was loaded", |it| it.loads),
    ("model_load_failures", "Times that a model could not be loaded", |it| it.load_failures),
    ("engine_restarts", "Loads in the place of an engine that was lost", |it| it.engine_restarts),
];

/// Where metrics are written, one family after the other.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn daemon(&mut self, metrics: &Metrics) -> fmt::Result {
        let Metrics { version, uptime_ms, memory_bytes, connections, server_requests, residents, .. } = metrics;
        let build = [(vec![("version", version.as_str())], 1.0)];
        self.gauges("build_info", "Always 1, for the version of the daemon", build)?;
        let memory = memory_bytes.map(|bytes| bytes as f64);
        for (name, help, value) in [
            ("uptime_seconds", "Time since the start of the daemon", Some(*uptime_ms as f64 / 1e3)),
            ("memory_bytes", "Memory of the daemon's own process", memory),
            ("connections", "Connections now open", Some(f64::from(*connections))),
            ("residents", "Models in memory", Some(residents.len() as f64)),
            ("server_requests", "Requests that run on servers", Some(f64::from(*server_requests))),
        ] {
            self.gauges(name, help, value.map(|value| (vec![], value)))?;
        }
        Ok(())
    }

    fn gauges<'l, V>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result
    where
        V: prometheus_client::encoding::EncodeGaugeValue,
    {
        self.family(name, help, MetricType::Gauge, values, |mut to, value| to.encode_gauge(&value))
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let write = |mut to: MetricEncoder<'_>, value| to.encode_counter::<NoLabelSet, u64, f64>(&value, None);
        self.family(name, help, MetricType::Counter, values, write)
    }

    /// In seconds, with the values of each bucket alone.
    fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, &'l Histogram)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, values, |mut to, value: &Histogram| {
            let mut below = 0;
            let mut own = |count| count - std::mem::replace(&mut below, count);
            let buckets: Vec<_> = value.buckets.iter().map(|it| (it.le / 1e3, own(it.count))).collect();
            to.encode_histogram::<NoLabelSet>(value.sum / 1e3, value.count, &buckets, None)
        })
    }

    fn family<'l, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels<'l>, V)>,
        write: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            write(family.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}

fn of_resident(it: &ResidentMetrics) -> Labels<'_> {
    vec![("model", it.model.0.as_str()), ("engine", it.engine.0.as_str())]
}

/// All three, so that every value of a metric has the same labels; an empty one counts as none.
fn of_request(it: &RequestMetrics) -> Labels<'_> {
    let model = it.model.as_ref().map_or("", |model| &model.0);
    let engine = it.engine.as_ref().map_or("", |engine| &engine.0);
    vec![("model", model), ("engine", engine), ("priority", it.priority.as_deref().unwrap_or_default())]
}

fn of_model(it: &ModelMetrics) -> Labels<'_> {
    vec![("model", it.model.0.as_str())]
}

fn by_outcome(it: &RequestMetrics) -> impl Iterator<Item = (Labels<'_>, u64)> {
    it.outcomes.iter().map(|(outcome, count)| (with(of_request(it), "outcome", outcome), *count))
}

fn by_reason(it: &ModelMetrics) -> impl Iterator<Item = (Labels<'_>, u64)> {
    it.unloads.iter().map(|(reason, count)| (with(of_model(it), "reason", reason), *count))
}

fn with<'a>(mut labels: Labels<'a>, name: &'static str, value: &'a str) -> Labels<'a> {
    labels.push((name, value));
    labels
}
