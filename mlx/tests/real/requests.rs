//! Requests to a real engine: stopped, cancelled, repeated, killed in the middle, shared.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::model::{ID, daemon};
use crate::support::{Daemon, signal_process, text};

/// A short prompt with a long answer: on a CPU each token of either takes a tenth of a second.
fn request(tokens: u32) -> Value {
    let options = json!({ "temperature": 0, "max_tokens": tokens, "system_prompt": "Tell it all." });
    json!({ "prompt": "Write a long story about the sea.", "options": options })
}

fn engine(daemon: &Daemon) -> u32 {
    let status = daemon.call("daemon.status", json!({})).unwrap();
    status["residents"][0]["residency"]["pid"].as_u64().expect("a resident has a process") as u32
}

#[test]
fn a_stop_sequence_ends_the_answer_before_it() {
    let daemon = daemon();
    let whole = daemon.call("generate.text", request(16)).unwrap();
    let whole = whole["text"].as_str().unwrap();
    let words: Vec<&str> = whole.split(' ').collect();
    let stop = words[4..6].join(" ");
    let mut stopped = request(16);
    stopped["options"]["stop_sequences"] = json!([stop]);
    let result = daemon.call("generate.text", stopped).unwrap();
    assert_eq!(result["text"], whole.split(&stop).next().unwrap());
    assert_eq!(result["finish_reason"], "stop");
}

#[test]
fn a_cancel_waits_for_one_step_at_most() {
    let daemon = daemon();
    let mut connection = daemon.connect();
    let queued = connection.stream(request(2000));
    connection.events_until("text");
    let status = daemon.call("daemon.status", json!({})).unwrap();
    let before = status["requests"][0]["completion_tokens"].as_u64().unwrap();
    let cancelled = daemon.call("generate.cancel", json!({ "request_id": queued["request_id"] })).unwrap();
    assert_eq!(cancelled, json!({ "cancelled": true }));
    let events = connection.events_until("finished");
    let finished = events.last().unwrap();
    assert_eq!(finished["finish_reason"], "cancelled");
    let after = finished["usage"]["completion_tokens"].as_u64().unwrap();
    // One is computed while the status is read, one while the cancel is on its way, one ends the step under way.
    assert!(after <= before + 3, "{before} tokens before, {after} after");
}

#[test]
fn a_seed_repeats_an_answer_and_another_changes_it() {
    let daemon = daemon();
    let answer = |seed: u64| {
        let mut request = request(8);
        request["options"]["temperature"] = json!(1.5);
        request["options"]["seed"] = json!(seed);
        daemon.call("generate.text", request).unwrap()["text"].clone()
    };
    let first = answer(7);
    assert_eq!(answer(7), first);
    assert_ne!(answer(8), first);
}

#[test]
fn each_sample_is_the_answer_of_its_own_seed() {
    let daemon = daemon();
    let answer = |seed: u64, n: u32| {
        let mut request = request(8);
        request["options"]["temperature"] = json!(1.5);
        request["options"]["seed"] = json!(seed);
        request["options"]["n"] = json!(n);
        daemon.call("generate.text", request).unwrap()
    };
    let three = answer(7, 3);
    let samples = [&three, &three["others"][0], &three["others"][1]].map(|sample| sample["text"].clone());
    for (seed, sample) in (7..).zip(&samples) {
        assert_eq!(answer(seed, 1)["text"], *sample, "seed {seed}");
    }
    assert_ne!(samples[0], samples[1]);
    assert_eq!(three["usage"]["completion_tokens"], 24);
}

#[test]
fn keys_and_values_in_few_bits_answer_as_well() {
    let daemon = daemon();
    let long = "The sea was calm and the boat lay still. ".repeat(60);
    let held = |bits: Value| {
        let options = json!({ "temperature": 0, "max_tokens": 8, "n": 1, "kv_bits": bits });
        let result = daemon.call("generate.text", json!({ "prompt": long, "options": options })).unwrap();
        assert!(!result["text"].as_str().unwrap().is_empty(), "{result}");
        result["text"].clone()
    };
    let plain = held(Value::Null);
    assert_eq!(held(json!(8)), plain, "eight bits change nothing that eight tokens would show");
    held(json!(4));
}

#[test]
fn an_engine_killed_in_mid_generation_costs_one_request() {
    let daemon = daemon();
    let mut connection = daemon.connect();
    connection.stream(request(2000));
    connection.events_until("text");
    let killed = engine(&daemon);
    signal_process(killed, Signal::KILL);
    let failed = loop {
        let event = connection.event();
        if event["type"] != "text" {
            break event;
        }
    };
    assert_eq!((&failed["type"], &failed["error"]["kind"]), (&json!("failed"), &json!("engine_lost")));
    let next = daemon.call("generate.text", request(4)).unwrap();
    assert_eq!(next["usage"]["completion_tokens"], 4);
    assert_ne!(engine(&daemon), killed);
}

#[test]
fn a_second_app_finds_the_model_warm() {
    let daemon = daemon();
    let (mut one, mut other) = (daemon.connect(), daemon.connect());
    let first = one.call("generate.text", request(4)).unwrap();
    assert!(first["timings"]["load_ms"].as_f64().unwrap() > 0.0, "{first}");
    let second = other.call("generate.text", request(4)).unwrap();
    assert_eq!((&second["timings"]["load_ms"], &second["text"]), (&json!(0.0), &first["text"]));
}

#[test]
fn a_stream_is_the_text_that_a_call_gives() {
    let daemon = daemon();
    let loaded = daemon.call("models.load", json!({ "model": ID })).unwrap();
    assert_eq!(loaded["residency"]["state"], "idle");
    let mut connection = daemon.connect();
    connection.stream(request(8));
    let events = connection.events_until("finished");
    assert_eq!(daemon.call("generate.text", request(8)).unwrap()["text"], text(&events));
}
