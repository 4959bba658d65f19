use protocol::{Pull, PullState, RequestMetrics, UnloadReason};

use super::histogram::{Histogram, TOKEN_US, WAIT_US};
use super::*;

fn model(name: &str) -> ModelId {
    ModelId(format!("org/{name}"))
}

fn mlx() -> ProviderId {
    ProviderId("mlx".into())
}

fn stopped(name: &str) -> Ended {
    Ended::new(Some(model(name)), Some(mlx()), Outcome::Finished(FinishReason::Stop))
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The one that was counted.
fn only(counters: &Counters) -> RequestMetrics {
    let mut requests = counters.read().requests;
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

fn unloaded(name: &str, reason: UnloadReason) -> ModelChange {
    ModelChange::Unloaded { model: model(name), reason, error: None }
}

fn pull(name: &str, state: PullState) -> ModelChange {
    let pull = serde_json::json!({
        "model": model(name), "state": state, "done_bytes": 100, "refetched_bytes": 0,
    });
    ModelChange::Pull { pull: Box::new(serde_json::from_value::<Pull>(pull).unwrap()) }
}

#[test]
fn a_request_is_counted_with_its_tokens_and_times() {
    let counters = Counters::default();
    let times = Times {
        queue: Some(ms(3)),
        load: Some(ms(0)),
        first_token: Some(ms(40)),
        token: Some(ms(12)),
        total: Some(ms(700)),
    };
    counters.request(Ended { prompt_tokens: 10, cached_tokens: 4, completion_tokens: 7, times, ..stopped("a") });
    counters.request(Ended { prompt_tokens: 1, times: Times::default(), ..stopped("a") });
    counters.request(Ended::new(Some(model("a")), Some(mlx()), Outcome::Failed(Kind::Busy)));
    counters.request(Ended::new(Some(model("a")), Some(mlx()), Outcome::Abandoned));
    let told = only(&counters);
    let outcomes: Vec<(&str, u64)> = told.outcomes.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(outcomes, [("abandoned", 1), ("busy", 1), ("stop", 2)]);
    assert_eq!((told.prompt_tokens, told.cached_tokens, told.completion_tokens), (11, 4, 7));
    assert_eq!((told.queue_ms.count, told.queue_ms.sum), (1, 3.0));
    assert_eq!(told.load_ms.count, 0, "one that did not wait for a load says nothing of how long they take");
    assert_eq!((told.first_token_ms.sum, told.token_ms.sum, told.total_ms.sum), (40.0, 12.0, 700.0));
}

#[test]
fn requests_are_told_apart_by_model_engine_and_priority() {
    let counters = Counters::default();
    counters.request(stopped("a"));
    counters.request(stopped("b"));
    counters.request(Ended { priority: Some(Priority::Interactive), ..stopped("a") });
    counters.request(Ended::new(Some(model("a")), Some(ProviderId("candle".into())), Outcome::Abandoned));
    counters.request(Ended::new(None, None, Outcome::Failed(Kind::InvalidParams)));
    let told = counters.read().requests;
    let subject = |it: &RequestMetrics| {
        let model = it.model.as_ref().map_or("–", |model| &model.0).to_owned();
        [model, it.engine.as_ref().map_or("–", |engine| &engine.0).into(), it.priority.clone().unwrap_or("–".into())]
            .join(" ")
    };
    let subjects: Vec<String> = told.iter().map(subject).collect();
    assert_eq!(subjects, ["– – –", "org/a candle –", "org/a mlx –", "org/a mlx interactive", "org/b mlx –"]);
}

#[test]
fn names_beyond_the_bound_are_counted_together() {
    let counters = Counters::default();
    for number in 0..100 {
        let server = ProviderId(format!("server{number}"));
        counters.request(Ended { engine: Some(server), ..stopped("a") });
        counters.request(stopped(&format!("m{number}")));
        counters.change(&ModelChange::Loaded { model: model(&format!("n{number}")) });
    }
    let told = counters.read();
    let models: std::collections::BTreeSet<_> = told.requests.iter().map(|it| it.model.clone()).collect();
    let engines: std::collections::BTreeSet<_> = told.requests.iter().map(|it| it.engine.clone()).collect();
    assert_eq!(engines.len(), 16 + 1);
    assert!(models.contains(&Some(ModelId("other".into()))));
    let all = told.requests.iter().flat_map(|it| it.outcomes.values()).sum::<u64>();
    assert_eq!(all, 200, "none is lost");
    assert_eq!(told.models.iter().map(|it| it.loads).sum::<u64>(), 100);
    let both =
        told.models.iter().map(|it| Some(it.model.clone())).chain(models).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(both.len(), 64 + 1);
}

#[test]
fn loads_and_unloads_are_counted_by_reason_and_restarts_after_a_loss() {
    let counters = Counters::default();
    let loaded = || ModelChange::Loaded { model: model("a") };
    for change in [
        loaded(),
        unloaded("a", UnloadReason::Idle),
        loaded(),
        unloaded("a", UnloadReason::EngineLost),
        // The next dies while it loads, the one after it cannot load, then all is well.
        unloaded("a", UnloadReason::EngineLost),
        unloaded("a", UnloadReason::LoadFailed),
        loaded(),
        unloaded("a", UnloadReason::Requested),
        loaded(),
    ] {
        counters.change(&change);
    }
    let [told] = &counters.read().models[..] else { panic!("one model") };
    assert_eq!((told.loads, told.load_failures, told.engine_restarts), (4, 2, 1));
    let unloads: Vec<(&str, u64)> = told.unloads.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(unloads, [("engine_lost", 2), ("idle", 1), ("load_failed", 1), ("requested", 1)]);
}

#[test]
fn downloads_are_counted_when_they_end_and_not_for_how_they_were_found() {
    let counters = Counters::default();
    // Failed before this start.
    counters.change(&pull("old", PullState::Failed));
    for state in [PullState::Planning, PullState::Downloading, PullState::Downloading, PullState::Done] {
        counters.change(&pull("a", state));
    }
    for state in [PullState::Queued, PullState::Failed, PullState::Failed, PullState::Queued, PullState::Failed] {
        counters.change(&pull("b", state));
    }
    for state in [PullState::Downloading, PullState::Paused, PullState::Downloading, PullState::Cancelled] {
        counters.change(&pull("c", state));
    }
    let told = counters.read().pulls;
    assert_eq!((told.finished, told.failed, told.finished_bytes), (1, 2, 100));
}

#[test]
fn a_time_lies_in_the_first_bucket_that_is_not_below_it() {
    for bounds in [WAIT_US, TOKEN_US] {
        assert!(bounds.is_sorted_by(|one, two| one < two), "bounds rise");
        let mut histogram = Histogram::new(bounds);
        for us in [0, bounds[0], bounds[0] + 1, bounds[bounds.len() - 1], bounds[bounds.len() - 1] + 1] {
            histogram.observe(Some(Duration::from_micros(us)));
        }
        histogram.observe(None);
        let told = histogram.told();
        assert_eq!(told.count, 5);
        assert_eq!((told.buckets[0].count, told.buckets[1].count), (2, 3));
        assert_eq!(told.buckets.last().map(|bucket| bucket.count), Some(4), "what lies beyond is in the count alone");
    }
    assert_eq!(Histogram::new(WAIT_US).told().buckets.get(1).map(|bucket| bucket.le), Some(2.5));
}

#[test]
fn the_time_of_a_token_is_that_of_each_sample() {
    let decode = Duration::from_millis(90);
    assert_eq!(Times::token(decode, 10, 1), Some(ms(10)));
    assert_eq!(Times::token(decode, 1, 1), None);
    assert_eq!(Times::token(decode, 0, 1), None);
    // Two samples of ten tokens, side by side.
    assert_eq!(Times::token(decode, 20, 2), Some(ms(10)));
}

#[test]
fn the_text_is_in_prometheus_units_with_labels_escaped() {
    let counters = Counters::default();
    let odd = ModelId("org/a\"b\\c\nd".into());
    let times = Times { first_token: Some(ms(40)), ..Times::default() };
    counters.request(Ended { times, ..Ended::new(Some(odd), Some(mlx()), Outcome::Finished(FinishReason::Length)) });
    let text = text(Metrics { version: "0.1.0".into(), uptime_ms: 1500, ..counters.read() }).unwrap();
    let has = |line: &str| assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    has("talkied_uptime_seconds 1.5");
    has(r#"talkied_requests_total{model="org/a\"b\\c\nd",engine="mlx",priority="",outcome="length"} 1"#);
    let of = |more: &str| format!(r#"{{model="org/a\"b\\c\nd",engine="mlx",priority=""{more}}}"#);
    has(&format!("talkied_request_first_token_seconds_bucket{} 0", of(r#",le="0.025""#)));
    has(&format!("talkied_request_first_token_seconds_bucket{} 1", of(r#",le="0.05""#)));
    has(&format!("talkied_request_first_token_seconds_bucket{} 1", of(r#",le="+Inf""#)));
    has(&format!("talkied_request_first_token_seconds_sum{} 0.04", of("")));
    has(&format!("talkied_request_first_token_seconds_count{} 1", of("")));
    assert!(
        !text.lines().any(|line| line.starts_with("talkied_memory_bytes")),
        "what is not known has no value: {text}"
    );
}
