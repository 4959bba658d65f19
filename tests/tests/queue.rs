//! Many requests to one model: side by side, in turns, paused, in time and too late.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Connection, Daemon, Start, text, until};

/// A daemon whose model goes on for long, with engines of so many rows.
fn daemon(batch: &str) -> Daemon {
    started(&["--batch", batch])
}

fn started(args: &[&str]) -> Daemon {
    let model =
        |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
    Start::fake().args(args).model("test/endless", model).run()
}

/// A request for so many tokens.
fn asked(max_tokens: u32, more: &Value) -> Value {
    let mut request = json!({ "prompt": "on and on ", "options": { "max_tokens": max_tokens } });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

/// A stream that has begun to answer.
fn answering(daemon: &Daemon, request: Value) -> (Connection, Value) {
    let mut connection = daemon.connect();
    let id = connection.stream(request)["request_id"].clone();
    connection.events_until("text");
    (connection, id)
}

fn requests(daemon: &Daemon) -> Vec<Value> {
    daemon.call("daemon.status", json!({})).unwrap()["requests"].as_array().unwrap().clone()
}

fn request(daemon: &Daemon, id: &Value) -> Value {
    requests(daemon).into_iter().find(|request| request["request_id"] == *id).unwrap_or_default()
}

#[test]
fn several_requests_are_answered_side_by_side() {
    let daemon = daemon("3");
    let mut all: Vec<Connection> = (0..3).map(|_| answering(&daemon, asked(4000, &json!({}))).0).collect();
    let residency = daemon.call("daemon.status", json!({})).unwrap()["residents"][0]["residency"].clone();
    assert_eq!((&residency["running"], &residency["waiting"]), (&json!(3), &json!(0)));
    for connection in &mut all {
        connection.events_until("text");
    }
    let mut waits = daemon.connect();
    let id = waits.stream(asked(4, &json!({})))["request_id"].clone();
    assert_eq!(request(&daemon, &id)["position"], 0);
    drop(all.pop());
    let events = waits.events_until("finished");
    assert_eq!(text(&events), "on a", "it begins when one is gone");
}

#[test]
fn an_interactive_request_pauses_a_background_one_which_then_goes_on_as_if_nothing_had_been() {
    let daemon = daemon("1");
    let (mut background, id) = answering(&daemon, asked(200, &json!({ "priority": "background" })));
    let mut waits = daemon.connect();
    waits.stream(asked(4, &json!({ "priority": "background" })));
    let (mut urgent, _) = answering(&daemon, asked(4000, &json!({ "priority": "interactive" })));
    let paused = request(&daemon, &id);
    assert_eq!((&paused["paused"], &paused["priority"]), (&json!(true), &json!("background")), "{paused}");
    let residency = daemon.call("daemon.status", json!({})).unwrap()["residents"][0]["residency"].clone();
    assert_eq!((&residency["running"], &residency["paused"]), (&json!(1), &json!(1)));
    urgent.events_until("text");
    let tokens = request(&daemon, &id)["completion_tokens"].clone();
    urgent.events_until("text");
    assert_eq!(request(&daemon, &id)["completion_tokens"], tokens, "it stands still");
    drop(urgent);
    let rest = text(&background.events_until("finished"));
    let whole = "on and on ".repeat(20);
    assert!(whole.ends_with(&rest) && rest.len() > 100, "{rest:?}");
    assert_eq!(text(&waits.events_until("finished")), "on a");
}

#[test]
fn a_paused_request_is_cancelled_by_id_and_by_hanging_up() {
    let daemon = daemon("2");
    let background = json!({ "priority": "background" });
    let (mut first, first_id) = answering(&daemon, asked(4000, &background));
    let (second, second_id) = answering(&daemon, asked(4000, &background));
    let _urgent = [(); 2].map(|()| answering(&daemon, asked(4000, &json!({ "priority": "interactive" }))));
    for id in [&first_id, &second_id] {
        assert_eq!(request(&daemon, id)["paused"], true);
    }
    let cancelled = daemon.call("generate.cancel", json!({ "request_id": first_id })).unwrap();
    assert_eq!(cancelled, json!({ "cancelled": true }));
    assert_eq!(first.events_until("finished").pop().unwrap()["finish_reason"], "cancelled");
    drop(second);
    until("the other is gone", || requests(&daemon).len() == 2);
}

#[test]
fn an_app_that_asks_for_much_does_not_keep_another_waiting() {
    let daemon = daemon("1");
    let _runs = answering(&daemon, asked(4000, &json!({})));
    let mut connection = daemon.connect();
    for place in 0..4 {
        connection.request("generate.stream", asked(4000, &json!({})));
        until("it waits", || requests(&daemon).len() == place + 2);
    }
    let mut talkiectl = daemon.talkiectl(&["generate", "--json", "on and on "]);
    let mut child = talkiectl.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let queued: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&queued["type"], &queued["position"]), (&json!("queued"), &json!(0)));
    assert_eq!(request(&daemon, &queued["request_id"])["app"], "talkiectl");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn who_waits_is_told_of_better_places() {
    let daemon = daemon("1");
    let runs = answering(&daemon, asked(4000, &json!({})));
    let mut all: Vec<Connection> = (0..3).map(|_| daemon.connect()).collect();
    for (place, connection) in all.iter_mut().enumerate() {
        assert_eq!(connection.stream(asked(40, &json!({})))["position"], place);
    }
    drop(runs);
    let told = all[2].events_until("finished");
    let queued = told.iter().filter(|event| event["type"] == "queued");
    let places: Vec<u64> = queued.map(|event| event["position"].as_u64().unwrap()).collect();
    assert!(!places.is_empty() && places.is_sorted_by(|a, b| a > b) && places[0] < 2, "{places:?}");
    let started = told.iter().position(|event| event["type"] == "started").unwrap();
    assert!(told[started..].iter().all(|event| event["type"] != "queued"));
}

#[test]
fn background_work_is_refused_before_the_last_places_are_taken() {
    let daemon = started(&["--batch", "1", "--queue", "8"]);
    let _runs = answering(&daemon, asked(4000, &json!({})));
    let mut waiting = daemon.connect();
    for _ in 0..7 {
        waiting.request("generate.stream", asked(4, &json!({ "priority": "background" })));
    }
    until("seven wait", || requests(&daemon).len() == 8);
    let error = daemon.call("generate.text", asked(4, &json!({ "priority": "background" }))).unwrap_err();
    assert_eq!((&error["code"], &error["data"]["queue_length"]), (&json!(3001), &json!(7)));
    assert!(error["data"]["message"].as_str().unwrap().contains("not for background"), "{error}");
    let mut normal = daemon.connect();
    assert_eq!(normal.stream(asked(4, &json!({})))["position"], 0);
    let error = daemon.call("generate.text", asked(4, &json!({}))).unwrap_err();
    assert_eq!((&error["data"]["queue_length"], &error["data"]["retry_after_ms"]), (&json!(8), &json!(1000)));
}

#[test]
fn a_deadline_cuts_an_answer_that_has_begun_and_fails_one_that_has_not() {
    let daemon = daemon("1");
    let cut = daemon.call("generate.text", asked(4000, &json!({ "deadline_ms": 300 }))).unwrap();
    assert_eq!(cut["finish_reason"], "deadline");
    let (said, tokens) = (cut["text"].as_str().unwrap(), cut["usage"]["completion_tokens"].as_u64().unwrap());
    assert!(said.starts_with("on a") && said.len() as u64 == tokens && tokens < 200, "{cut}");
    let mut connection = daemon.connect();
    connection.stream(asked(4000, &json!({ "deadline_ms": 300, "options": { "n": 2, "max_tokens": 1000 } })));
    let events = connection.events_until("finished");
    let ends: Vec<&Value> = events.iter().filter(|event| event["type"] == "sample_finished").collect();
    assert!(ends.len() == 2 && ends.iter().all(|end| end["finish_reason"] == "deadline"), "{ends:?}");
    let _runs = answering(&daemon, asked(4000, &json!({})));
    let error = daemon.call("generate.text", asked(4, &json!({ "deadline_ms": 50 }))).unwrap_err();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(3008), &json!("timeout")));
    assert!(error["data"]["message"].as_str().unwrap().contains("longer than its deadline_ms allow"), "{error}");
}

#[test]
fn a_queue_timeout_fails_what_waits_and_lets_run_what_runs() {
    let daemon = daemon("1");
    let bounded = json!({ "queue_timeout_ms": 200 });
    daemon.call("models.load", json!({ "model": "test/endless" })).unwrap();
    let (mut runs, _) = answering(&daemon, asked(200, &bounded));
    let error = daemon.call("generate.text", asked(4, &bounded)).unwrap_err();
    assert_eq!(error["data"]["kind"], "timeout");
    assert!(error["data"]["message"].as_str().unwrap().contains("longer than its queue_timeout_ms allow"), "{error}");
    let embedding = json!({ "input": ["a"], "queue_timeout_ms": 200 });
    assert_eq!(daemon.call("embeddings.create", embedding).unwrap_err()["data"]["kind"], "timeout");
    assert_eq!(runs.events_until("finished").pop().unwrap()["finish_reason"], "length");
}

#[test]
fn vectors_that_are_not_all_made_in_time_are_none() {
    let model = |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "token_ms": 20 });
    let daemon = Start::fake().model("test/slow", model).run();
    let input = vec!["a"; 500];
    let error = daemon.call("embeddings.create", json!({ "input": input, "deadline_ms": 200 })).unwrap_err();
    assert_eq!(error["data"]["kind"], "timeout");
    until("the engine is free", || requests(&daemon).is_empty());
}

#[test]
fn times_and_priorities_that_cannot_be_are_refused_by_name() {
    let daemon = daemon("1");
    let most = 86_400_000_u64;
    let cases = [
        (json!({ "deadline_ms": 0 }), "`deadline_ms` is 0, but must lie in 1 to 86400000, which is a day"),
        (json!({ "deadline_ms": most + 1 }), "`deadline_ms` is 86400001"),
        (json!({ "queue_timeout_ms": 0 }), "`queue_timeout_ms` is 0"),
        (json!({ "deadline_ms": -1 }), "deadline_ms: invalid value"),
        (json!({ "priority": "urgent" }), "priority: unknown variant `urgent`"),
    ];
    for (more, words) in cases {
        let error = daemon.call("generate.text", asked(1, &more)).unwrap_err();
        assert!(error["data"]["message"].as_str().unwrap().contains(words), "{more}: {error}");
        let mut embedding = json!({ "input": ["a"] });
        embedding.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = daemon.call("embeddings.create", embedding).unwrap_err();
        assert!(error["data"]["message"].as_str().unwrap().contains(words), "{more}: {error}");
    }
    let longest = json!({ "deadline_ms": most, "queue_timeout_ms": most });
    assert_eq!(daemon.call("generate.text", asked(1, &longest)).unwrap()["finish_reason"], "length");
}

#[test]
fn an_engine_that_dies_fails_all_that_it_ran_and_what_waited_is_answered() {
    let model = |files: &mut crate::support::model::Files| {
        files.config["fake"] = json!({ "token_ms": 5, "repeat": 500, "abort_after": 60 });
    };
    let daemon = Start::fake().args(&["--batch", "2"]).model("test/dies", model).run();
    let mut all = [(); 2].map(|()| answering(&daemon, asked(4000, &json!({}))).0);
    let mut waits = daemon.connect();
    waits.stream(asked(4, &json!({})));
    for connection in &mut all {
        let failed = connection.event_of("failed");
        assert_eq!(failed["error"]["kind"], "engine_lost");
    }
    assert_eq!(text(&waits.events_until("finished")), "on a");
}

#[test]
fn a_larger_batch_is_taken_by_a_running_daemon() {
    let daemon = started(&[]);
    std::fs::write(daemon.home.path().join("config.toml"), "batch = 1\n").unwrap();
    daemon.call("daemon.reload", json!({})).unwrap();
    let _runs = answering(&daemon, asked(4000, &json!({})));
    let mut waits = daemon.connect();
    waits.stream(asked(4000, &json!({})));
    std::fs::write(daemon.home.path().join("config.toml"), "batch = 2\n").unwrap();
    let reloaded = daemon.call("daemon.reload", json!({})).unwrap();
    assert_eq!(reloaded["changed"], json!(["batch"]));
    waits.events_until("text");
}
