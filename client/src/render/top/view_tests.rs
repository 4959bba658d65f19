//! Rates, of readings as a daemon tells them.

use std::collections::BTreeMap;

use protocol::{Bucket, RequestId, RequestState, ResidentMetrics};

use super::*;

pub(in super::super) fn model(name: &str) -> ModelId {
    ModelId(format!("org/{name}"))
}

fn mlx() -> ProviderId {
    ProviderId("mlx".into())
}

/// Nothing happens, and nothing has.
pub(in super::super) fn reading(uptime_ms: u64) -> Reading {
    let status = serde_json::json!({
        "version": "0.1.0", "protocol": 1, "pid": 7, "uptime_ms": uptime_ms, "socket": "/s", "models_dir": "/m",
        "connections": 1, "residents": [], "requests": [], "finished": 0, "failed": 0,
    });
    let metrics = Metrics { version: "0.1.0".into(), uptime_ms, connections: 1, ..Metrics::default() };
    Reading { status: serde_json::from_value(status).unwrap(), metrics }
}

pub(in super::super) fn resident(name: &str) -> ResidentMetrics {
    ResidentMetrics {
        model: model(name),
        engine: mlx(),
        state: ResidencyState::Busy,
        active_bytes: 2_000_000_000,
        peak_bytes: 0,
        cache_bytes: 0,
        prefix_bytes: 30_000_000,
        running: 1,
        waiting: 2,
    }
}

pub(in super::super) fn running(id: &str, name: &str, completion_tokens: u32) -> RequestStatus {
    RequestStatus {
        request_id: RequestId(id.into()),
        trace_id: None,
        model: model(name),
        provider: mlx(),
        app: "notes".into(),
        priority: protocol::Priority::Normal,
        state: RequestState::Decode,
        position: None,
        paused: false,
        age_ms: 1500,
        completion_tokens,
    }
}

/// So many requests that ended, each with ten tokens of a prompt, of which four were kept, five of an answer, and its
/// first token within a second.
pub(in super::super) fn ended(name: &str, count: u64) -> RequestMetrics {
    RequestMetrics {
        model: Some(model(name)),
        engine: Some(mlx()),
        outcomes: BTreeMap::from([("stop".into(), count)]),
        prompt_tokens: count * 10,
        cached_tokens: count * 4,
        completion_tokens: count * 5,
        first_token_ms: Histogram::new(count, 0.0, vec![Bucket { le: 1000.0, count }]),
        ..RequestMetrics::default()
    }
}

#[test]
fn rates_are_differences_over_the_interval() {
    let (mut before, mut now) = (reading(1000), reading(3000));
    before.metrics.requests = vec![ended("a", 10), ended("b", 1)];
    now.metrics.requests = vec![ended("a", 13), ended("b", 2)];
    let rates = View::new(Some(&before), &now).rates.unwrap();
    let expected = Rates {
        interval_ms: 2000,
        requests_per_s: 2.0,
        prompt_tokens_per_s: 20.0,
        tokens_per_s: 10.0,
        cached_share: Some(0.4),
        first_token_p50_ms: Some(500.0),
        first_token_p90_ms: Some(900.0),
    };
    assert_eq!(rates, expected);
}

#[test]
fn an_interval_without_anything_has_rates_of_zero_and_no_times() {
    let (mut before, mut now) = (reading(1000), reading(2000));
    before.metrics.requests = vec![ended("a", 10)];
    now.metrics.requests = vec![ended("a", 10)];
    let rates = View::new(Some(&before), &now).rates.unwrap();
    assert_eq!((rates.requests_per_s, rates.tokens_per_s, rates.prompt_tokens_per_s), (0.0, 0.0, 0.0));
    assert_eq!((rates.cached_share, rates.first_token_p50_ms, rates.first_token_p90_ms), (None, None, None));
}

#[test]
fn tokens_of_a_request_count_once_while_it_runs_and_when_it_has_ended() {
    let (mut before, mut now) = (reading(0), reading(1000));
    before.metrics.residents = vec![resident("a"), resident("b")];
    now.metrics.residents.clone_from(&before.metrics.residents);
    // One of `a` has ended with five tokens, of which it had three; one goes on; one is new and another model's.
    before.status.requests = vec![running("1", "a", 3), running("2", "a", 10)];
    now.status.requests = vec![running("2", "a", 14), running("3", "b", 7)];
    now.metrics.requests = vec![ended("a", 1)];
    let view = View::new(Some(&before), &now);
    assert_eq!(view.rates.map(|rates| rates.tokens_per_s), Some(13.0));
    assert_eq!(view.residents.iter().map(|it| it.tokens_per_s).collect::<Vec<_>>(), [Some(6.0), Some(7.0)]);
    assert_eq!(view.requests.iter().map(|it| it.tokens_per_s).collect::<Vec<_>>(), [Some(4.0), None]);
}

#[test]
fn one_that_ended_between_two_answers_of_the_daemon_gives_no_negative_rate() {
    let (mut before, now) = (reading(0), reading(1000));
    before.status.requests = vec![running("1", "a", 9)];
    assert_eq!(View::new(Some(&before), &now).rates.map(|rates| rates.tokens_per_s), Some(0.0));
}

#[test]
fn another_daemon_has_no_rates_yet() {
    let (mut before, mut now) = (reading(9000), reading(1000));
    before.metrics.requests = vec![ended("a", 10)];
    assert_eq!(View::new(Some(&before), &now).rates, None);
    now.status.pid = 8;
    now.metrics.uptime_ms = 10_000;
    assert_eq!(View::new(Some(&before), &now).rates, None);
    assert_eq!(View::new(None, &now).rates, None);
    // Two readings at the same moment have nothing between them.
    assert_eq!(View::new(Some(&before), &before).rates, None);
}
