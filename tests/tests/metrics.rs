//! What is counted, as JSON by `daemon.metrics` and as text over HTTP, after what is known to have happened.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use prometheus_parse::{Scrape, Value as Sample};
use serde_json::{Value, json};

use crate::support::{Daemon, Start, until};

/// What curl says of `/metrics`, asked with more arguments.
fn curl(daemon: &Daemon, args: &[&str]) -> String {
    let socket = daemon.socket();
    let mut command = Command::new("curl");
    command.args(["-s", "--unix-socket", socket.to_str().unwrap(), "http://localhost/metrics"]).args(args);
    let output = command.output().expect("curl is there");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every sample of a text, read by somebody else's parser.
fn scrape(daemon: &Daemon) -> Scrape {
    parsed(&curl(daemon, &[]))
}

fn parsed(text: &str) -> Scrape {
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("it is Prometheus' format")
}

/// The value of a counter or gauge whose labels are, among others, these.
fn value(scrape: &Scrape, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |sample: &&prometheus_parse::Sample| {
        sample.metric == metric && labels.iter().all(|(name, value)| sample.labels.get(name) == Some(value))
    };
    scrape.samples.iter().find(has).map(|sample| match &sample.value {
        Sample::Counter(value) | Sample::Gauge(value) => *value,
        other => panic!("{metric} is no number: {other:?}"),
    })
}

fn metrics(daemon: &Daemon) -> Value {
    daemon.call("daemon.metrics", json!({})).unwrap()
}

/// The requests of a model; those that were refused before one was found, where it is none.
fn requests_of(daemon: &Daemon, model: Option<&str>) -> Value {
    let all = metrics(daemon)["requests"].as_array().unwrap().clone();
    all.into_iter().find(|it| it["model"].as_str() == model).unwrap_or_default()
}

fn fake(fake: Value) -> impl FnOnce(&mut crate::support::model::Files) {
    move |files| files.config["fake"] = fake
}

#[test]
fn requests_are_counted_by_how_they_ended() {
    let daemon = Start::fake()
        .model("test/echo", |_| {})
        .model("test/fails", fake(json!({ "fail_after": 2 })))
        .model("test/slow", fake(json!({ "token_ms": 20, "repeat": 100 })))
        .run();
    let (mut prompt, mut completion) = (0, 0);
    for (text, limit) in [("one", 100), ("two", 100), ("a longer one", 4)] {
        let request = json!({ "model": "test/echo", "prompt": text, "options": { "max_tokens": limit } });
        let usage = daemon.call("generate.text", request).unwrap()["usage"].clone();
        prompt += usage["prompt_tokens"].as_u64().unwrap();
        completion += usage["completion_tokens"].as_u64().unwrap();
    }
    daemon.call("generate.text", json!({ "model": "test/fails", "prompt": "hello" })).unwrap_err();
    daemon.call("generate.text", json!({ "model": "no/such", "prompt": "hello" })).unwrap_err();
    daemon.call("generate.text", json!({ "prompt": "" })).unwrap_err();
    let mut slow = daemon.connect();
    let queued = slow.stream(json!({ "model": "test/slow", "prompt": "on and on" }));
    slow.event_of("text");
    daemon.call("generate.cancel", json!({ "request_id": queued["request_id"] })).unwrap();
    slow.event_of("finished");
    slow.stream(json!({ "model": "test/slow", "prompt": "on and on" }));
    slow.event_of("text");
    drop(slow);
    until("the client that left is counted", || {
        requests_of(&daemon, Some("test/slow"))["outcomes"] == json!({ "abandoned": 1, "cancelled": 1 })
    });

    let echo = requests_of(&daemon, Some("test/echo"));
    assert_eq!(echo["outcomes"], json!({ "length": 1, "stop": 2 }));
    assert_eq!(
        (&echo["engine"], &echo["prompt_tokens"], &echo["completion_tokens"]),
        (&json!("mlx"), &json!(prompt), &json!(completion))
    );
    for (times, count) in [("queue_ms", 3), ("first_token_ms", 3), ("token_ms", 3), ("total_ms", 3), ("load_ms", 1)] {
        assert_eq!(echo[times]["count"], count, "{times}: {echo}");
        let buckets = echo[times]["buckets"].as_array().unwrap();
        assert_eq!(buckets.last().unwrap()["count"], count, "none takes minutes: {echo}");
        assert!(echo[times]["p50"].as_f64() <= echo[times]["p99"].as_f64(), "{echo}");
    }
    assert_eq!(requests_of(&daemon, Some("test/fails"))["outcomes"], json!({ "generation_failed": 1 }));
    assert_eq!(requests_of(&daemon, Some("test/fails"))["total_ms"]["count"], 0, "an error is no answer");
    let refused: BTreeMap<String, u64> = metrics(&daemon)["requests"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["model"].is_null())
        .flat_map(|it| serde_json::from_value::<BTreeMap<String, u64>>(it["outcomes"].clone()).unwrap())
        .collect();
    assert_eq!(refused, BTreeMap::from([("invalid_params".into(), 1), ("model_not_found".into(), 1)]));

    let scrape = scrape(&daemon);
    let of = |model, outcome| value(&scrape, "talkied_requests_total", &[("model", model), ("outcome", outcome)]);
    assert_eq!((of("test/echo", "stop"), of("test/echo", "length")), (Some(2.0), Some(1.0)));
    assert_eq!((of("test/slow", "cancelled"), of("test/slow", "abandoned")), (Some(1.0), Some(1.0)));
    let labels = [("model", "test/echo"), ("engine", "mlx")];
    assert_eq!(value(&scrape, "talkied_completion_tokens_total", &labels), Some(completion as f64));
    assert_eq!(value(&scrape, "talkied_prompt_tokens_total", &labels), Some(prompt as f64));
    let first = scrape
        .samples
        .iter()
        .find(|it| it.metric == "talkied_request_first_token_seconds" && it.labels.get("model") == Some("test/echo"));
    let Some(Sample::Histogram(buckets)) = first.map(|it| &it.value) else { panic!("no histogram: {first:?}") };
    assert!(buckets.is_sorted_by(|one, two| one.less_than < two.less_than && one.count <= two.count), "{buckets:?}");
    let last = buckets.last().unwrap();
    assert!(last.less_than.is_infinite() && last.count.total_cmp(&3.0).is_eq(), "{last:?}");
}

#[test]
fn refusals_of_a_full_queue_are_counted() {
    let slow = fake(json!({ "load_step_ms": 100, "load_steps": 1000 }));
    let daemon = Start::fake().args(&["--queue", "1"]).model("test/slow", slow).run();
    // It waits for the load, and no other has room beside it.
    let mut first = daemon.connect();
    first.stream(json!({ "prompt": "hello" }));
    for _ in 0..3 {
        daemon.call("generate.text", json!({ "prompt": "hello" })).unwrap_err();
    }
    let counted = requests_of(&daemon, Some("test/slow"));
    assert_eq!(counted["outcomes"], json!({ "busy": 3 }));
    assert_eq!((&counted["prompt_tokens"], &counted["queue_ms"]["count"]), (&json!(0), &json!(0)), "it did no work");
}

#[test]
fn vectors_are_counted_too() {
    let embeds = |files: &mut crate::support::model::Files| {
        files.config["architectures"] = json!(["BertModel"]);
        files.config["model_type"] = json!("bert");
    };
    let daemon = Start::fake().model("test/bert", embeds).run();
    let made = daemon.call("embeddings.create", json!({ "input": ["one", "two"] })).unwrap();
    daemon.call("embeddings.create", json!({ "input": [] })).unwrap_err();
    let counted = requests_of(&daemon, Some("test/bert"));
    assert_eq!((&counted["outcomes"], &counted["prompt_tokens"]), (&json!({ "stop": 1 }), &made["prompt_tokens"]));
    assert_eq!((&counted["total_ms"]["count"], &counted["first_token_ms"]["count"]), (&json!(1), &json!(0)));
    assert_eq!(requests_of(&daemon, None)["outcomes"], json!({ "invalid_params": 1 }));
}

#[test]
fn loads_losses_and_restarts_are_counted() {
    let daemon = Start::fake().model("test/echo", |_| {}).model("test/no", fake(json!({ "fail_load": "no" }))).run();
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    daemon.call("models.unload", json!({ "model": "test/echo" })).unwrap();
    let loads = |model: &str| {
        let models = metrics(&daemon)["models"].as_array().unwrap().clone();
        models.into_iter().find(|it| it["model"] == model).unwrap_or_default()
    };
    until("it has gone", || loads("test/echo")["unloads"] == json!({ "requested": 1 }));
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    let residents = daemon.call("daemon.status", json!({})).unwrap()["residents"].clone();
    let pid = residents[0]["residency"]["pid"].as_u64().unwrap();
    crate::support::signal_process(pid as u32, rustix::process::Signal::KILL);
    until("its end is counted", || loads("test/echo")["unloads"]["engine_lost"] == 1);
    daemon.call("generate.text", json!({ "model": "test/echo", "prompt": "hi" })).unwrap();
    daemon.call("models.load", json!({ "model": "test/no" })).unwrap_err();
    until("the failure is counted", || loads("test/no")["load_failures"] == 1);
    let told = loads("test/echo");
    assert_eq!((&told["loads"], &told["load_failures"], &told["engine_restarts"]), (&json!(3), &json!(0), &json!(1)));
    let scrape = scrape(&daemon);
    let echo = ("model", "test/echo");
    assert_eq!(value(&scrape, "talkied_model_loads_total", &[echo]), Some(3.0));
    assert_eq!(value(&scrape, "talkied_engine_restarts_total", &[echo]), Some(1.0));
    assert_eq!(value(&scrape, "talkied_model_unloads_total", &[echo, ("reason", "engine_lost")]), Some(1.0));
    assert_eq!(value(&scrape, "talkied_model_load_failures_total", &[("model", "test/no")]), Some(1.0));
}

#[test]
fn a_load_under_way_holds_up_no_scrape() {
    let daemon = Start::fake().model("test/large", fake(json!({ "load_step_ms": 100, "load_steps": 1000 }))).run();
    let mut client = daemon.connect();
    client.stream(json!({ "prompt": "hello" }));
    client.event_of("loading");
    let scrape = scrape(&daemon);
    assert_eq!(value(&scrape, "talkied_residents", &[]), Some(1.0));
    let labels = [("model", "test/large"), ("engine", "mlx")];
    assert_eq!(value(&scrape, "talkied_resident_waiting_requests", &labels), Some(1.0));
    assert_eq!(value(&scrape, "talkied_resident_running_requests", &labels), Some(0.0));
    assert!(value(&scrape, "talkied_connections", &[]) >= Some(2.0), "the client and the reader");
    assert_eq!(metrics(&daemon)["residents"][0]["state"], "loading");
}

#[test]
fn every_sample_has_its_type_and_its_help() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    daemon.call("generate.text", json!({ "prompt": "hello" })).unwrap();
    daemon.call("models.unload", json!({ "model": "test/echo" })).unwrap();
    until("it has gone", || metrics(&daemon)["models"][0]["unloads"]["requested"] == 1);
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    let text = curl(&daemon, &[]);
    let words = |line: &str, kind: &str| -> Option<(String, String)> {
        let (name, rest) = line.strip_prefix(&format!("# {kind} "))?.split_once(' ')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    let of = |kind: &str| -> BTreeMap<String, String> { text.lines().filter_map(|line| words(line, kind)).collect() };
    let (types, helps) = (of("TYPE"), of("HELP"));
    assert_eq!(types.keys().collect::<Vec<_>>(), helps.keys().collect::<Vec<_>>());
    let samples: BTreeSet<&str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect();
    assert!(samples.len() > 30, "{samples:?}");
    for sample in samples {
        let ends = ["_bucket", "_sum", "_count"];
        let stem = ends.iter().find_map(|end| sample.strip_suffix(end)).filter(|stem| types.contains_key(*stem));
        let kind = types.get(stem.unwrap_or(sample)).unwrap_or_else(|| panic!("{sample} has no type"));
        let expected = match stem {
            Some(_) => "histogram",
            None if sample.ends_with("_total") => "counter",
            None => "gauge",
        };
        assert_eq!(kind, expected, "{sample}");
    }
    // The parser passes by what it does not understand, so every line must come out again; to it, sums and counts are
    // of no type.
    let is_bucket = |line: &str| line.split('{').next().is_some_and(|name| name.ends_with("_bucket"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let (buckets, others): (Vec<&str>, Vec<&str>) = lines.partition(|line| is_bucket(line));
    let parsed = parsed(&text);
    let mut found = (0, 0);
    for sample in &parsed.samples {
        match &sample.value {
            Sample::Histogram(buckets) => found.0 += buckets.len(),
            Sample::Untyped(_) => {
                assert!(sample.metric.ends_with("_sum") || sample.metric.ends_with("_count"), "{sample:?}");
                found.1 += 1;
            }
            _ => found.1 += 1,
        }
    }
    assert_eq!(found, (buckets.len(), others.len()));
    // What the map of the daemon says there is, is there.
    let map = include_str!("../../daemon/README.md");
    let told: BTreeSet<&str> = map.split(['`', '{']).filter(|word| word.starts_with("talkied_")).collect();
    assert_eq!(told, types.keys().map(String::as_str).collect());
}

#[test]
fn only_reading_is_possible_and_every_other_path_is_as_it_was() {
    let daemon = Start::fake().run();
    let head = curl(&daemon, &["--head"]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = curl(&daemon, &["--include", "--request", method]);
        assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD\r\n"), "{method}: {refused}");
    }
    let socket = daemon.socket();
    for path in ["/", "/metrics/", "/Metrics", "/other"] {
        let url = format!("http://localhost{path}");
        let get = Command::new("curl").args(["-s", "-i", "--unix-socket", socket.to_str().unwrap(), &url]).output();
        let said = String::from_utf8(get.unwrap().stdout).unwrap();
        assert!(said.starts_with("HTTP/1.1 405") && said.contains("POST is required"), "{path}: {said}");
    }
}

#[test]
fn one_connection_may_scrape_and_call() {
    use std::io::{Read, Write};
    let daemon = Start::fake().run();
    let mut stream = std::os::unix::net::UnixStream::connect(daemon.socket()).unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"daemon.ping"}"#;
    let get = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let post = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let last = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all([get, &post, last].concat().as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 3, "{said}");
    assert_eq!(said.matches("# TYPE talkied_connections gauge").count(), 2, "{said}");
    assert!(said.contains(&format!("\"pid\":{}", daemon.pid())), "{said}");
}
