//! Models that share memory, a machine that runs short of it, and engines that hang.

use std::fs;

use serde_json::{Value, json};

use crate::support::model::Files;
use crate::support::{Connection, Daemon, Stalls, Start, text, until};

/// A model of so many bytes, whose sequences take so many for each token.
fn takes(weight_bytes: u64, token_bytes: u64) -> impl Fn(&mut Files) {
    move |files| files.config["fake"] = json!({ "weight_bytes": weight_bytes, "token_bytes": token_bytes })
}

/// One that answers without end, a token every few milliseconds.
fn slow(files: &mut Files) {
    files.config["fake"] = json!({ "weight_bytes": 600, "token_bytes": 0, "token_ms": 5, "repeat": 4000 });
}

fn generate(daemon: &Daemon, model: &str) -> Result<Value, Value> {
    let options = json!({ "max_tokens": 8 });
    daemon.call("generate.text", json!({ "model": model, "prompt": "hello", "options": options }))
}

fn residents(daemon: &Daemon) -> Vec<String> {
    let status = daemon.call("daemon.status", json!({})).unwrap();
    let ids = status["residents"].as_array().unwrap().iter();
    ids.map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// The next thing that happened to models, of this kind.
fn told(follower: &mut Connection, kind: &str) -> Value {
    follower.event_of(kind)
}

#[test]
fn the_model_used_least_recently_makes_room_and_that_is_told() {
    let start = Start::fake().args(&["--memory", "1000"]);
    let start = start.model("test/a", takes(400, 0)).model("test/b", takes(400, 0)).model("test/c", takes(400, 0));
    let daemon = start.run();
    let mut follower = daemon.connect();
    follower.call("models.subscribe", json!({})).unwrap();
    for model in ["test/a", "test/b", "test/a"] {
        generate(&daemon, model).unwrap();
    }
    assert_eq!(residents(&daemon), ["test/a", "test/b"]);
    generate(&daemon, "test/c").unwrap();
    let event = told(&mut follower, "unloaded");
    assert_eq!((&event["model"], &event["reason"]), (&json!("test/b"), &json!("memory")));
    assert_eq!(residents(&daemon), ["test/a", "test/c"]);
    let memory = &daemon.call("daemon.status", json!({})).unwrap()["memory"];
    assert_eq!(memory["pools"][0]["budget_bytes"], 1000);
    assert_eq!(memory["pools"][0]["held_bytes"], 800);
}

#[test]
fn what_never_fits_is_refused_with_both_numbers() {
    let start = Start::fake().args(&["--memory", "1000"]);
    let start = start.model("test/big", takes(1001, 0)).model("test/long", takes(100, 100));
    let daemon = start.run();
    let error = generate(&daemon, "test/big").unwrap_err();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(1016), &json!("model_too_large")));
    assert_eq!((&error["data"]["needed_bytes"], &error["data"]["available_bytes"]), (&json!(1001), &json!(1000)));
    // 5 bytes of prompt and 8 to come, 100 for each.
    let error = generate(&daemon, "test/long").unwrap_err();
    assert_eq!((&error["data"]["needed_bytes"], &error["data"]["available_bytes"]), (&json!(1300), &json!(900)));
    let words = error["message"].as_str().unwrap();
    assert!(words.contains("may grow to 13 tokens") && words.contains("lower max_tokens"), "{words}");
    let short = json!({ "model": "test/long", "prompt": "hello", "options": { "max_tokens": 2 } });
    assert_eq!(daemon.call("generate.text", short).unwrap()["text"], "he");
}

#[test]
fn a_model_in_use_is_never_unloaded_for_another() {
    let start = Start::fake().args(&["--memory", "1000"]).model("test/slow", slow).model("test/b", takes(600, 0));
    let daemon = start.run();
    let mut streaming = daemon.connect();
    streaming.stream(json!({ "model": "test/slow", "prompt": "hello", "options": { "max_tokens": 100 } }));
    streaming.event_of("text");
    let mut waiting = daemon.connect();
    let load = waiting.request("models.load", json!({ "model": "test/b" }));
    let events = streaming.events_until("finished");
    // What came before the first event of these is missing.
    assert!(text(&events).len() >= 90, "{}", text(&events));
    assert_eq!(waiting.line().unwrap()["id"], load);
    assert_eq!(residents(&daemon), ["test/b"]);
}

#[test]
fn pressure_gives_memory_back_and_refuses_until_it_is_over() {
    let start = Start::fake();
    let mut stalls = Stalls::none_in(&start.home());
    let start = start.args(&stalls.option());
    let daemon = start.model("test/a", takes(1, 1)).model("test/slow", slow).run();
    let mut follower = daemon.connect();
    follower.call("models.subscribe", json!({})).unwrap();
    let mut streaming = daemon.connect();
    let options = json!({ "max_tokens": 4000 });
    streaming.stream(json!({ "model": "test/slow", "prompt": "hello", "options": options }));
    streaming.event_of("text");
    generate(&daemon, "test/a").unwrap();
    let pressure = || daemon.call("daemon.status", json!({})).unwrap()["memory"]["pressure"].clone();
    stalls.until_noticed(&daemon);
    let event = told(&mut follower, "unloaded");
    assert_eq!((&event["model"], &event["reason"]), (&json!("test/a"), &json!("memory_pressure")));
    let error = generate(&daemon, "test/a").unwrap_err();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(3009), &json!("memory_pressure")));
    assert_eq!(error["data"]["retry_after_ms"], 10_000);
    // Who is being served already is served on.
    streaming.event_of("text");
    until("it is over", || pressure() == "calm");
    generate(&daemon, "test/a").unwrap();
}

#[test]
fn no_prompt_stays_in_memory() {
    let daemon = Start::fake().model("test/a", takes(1, 1)).run();
    let mut connection = daemon.connect();
    let mut count = |number: u32| {
        let prompt = format!("{number:0250}");
        let counted = connection.call("generate.count_tokens", json!({ "prompt": prompt })).unwrap();
        assert_eq!(counted["prompt_tokens"], 250);
    };
    let bytes = || daemon.call("daemon.status", json!({})).unwrap()["memory_bytes"].as_u64().unwrap();
    (0..200).for_each(&mut count);
    let before = bytes();
    (200..1200).for_each(&mut count);
    // Each token of a kept prompt takes some 24 bytes: 6 MB of these.
    let after = bytes();
    assert!(after < before + 2_000_000, "{before} bytes before, {after} after");
}

#[test]
fn an_engine_that_hangs_is_killed_and_the_next_one_serves() {
    let hangs = |files: &mut Files| files.config["fake"] = json!({ "hang_after": 3 });
    let start = Start::fake().args(&["--engine-timeout", "1"]).model("test/hangs", hangs);
    let daemon = start.run();
    let mut streaming = daemon.connect();
    streaming.stream(json!({ "model": "test/hangs", "prompt": "hello", "options": { "max_tokens": 8 } }));
    let events = streaming.events_until("failed");
    let error = &events.last().unwrap()["error"];
    assert_eq!(error["kind"], "engine_lost");
    assert!(
        error["message"].as_str().unwrap().contains("it hung: it had work and did no step of it for 1 s"),
        "{error}"
    );
    assert_eq!(text(&events), "hel");
    // A shorter answer never comes to where it hangs.
    let options = json!({ "max_tokens": 2 });
    let short = json!({ "model": "test/hangs", "prompt": "hello", "options": options });
    let lost = || daemon.call("daemon.status", json!({})).unwrap()["lost"].clone();
    assert_eq!((&lost()[0]["model"], &lost()[0]["count"]), (&json!("test/hangs"), &json!(1)));
    assert_eq!(daemon.call("generate.text", short).unwrap()["text"], "he");
    assert_eq!(lost(), Value::Null);
    let reports = fs::read_dir(daemon.home.path().join("crashes")).unwrap().count();
    assert_eq!(reports, 1, "there is a report of it");
}

/// A tokenizer of many words, which takes some megabytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn of_many_words(files: &mut Files) {
    let words = 257..60_000_u32;
    files.config["vocab_size"] = json!(words.end);
    let vocab = files.tokenizer["model"]["vocab"].as_object_mut().unwrap();
    vocab.extend(words.map(|id| (format!("word{id}"), json!(id))));
}

/// What a process keeps of what it frees is the C library's own matter; this is glibc's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn what_a_tokenizer_took_is_given_back_to_the_system_when_its_model_leaves() {
    const MB: u64 = 1 << 20;
    let models = ["test/a", "test/b", "test/c"];
    let start = models.iter().fold(Start::fake().model("test/small", |_| {}), |it, id| it.model(id, of_many_words));
    let daemon = start.run();
    let held = || daemon.call("daemon.status", json!({})).unwrap()["memory_bytes"].as_u64().unwrap();
    let ask = |model| generate(&daemon, model).unwrap();
    let unload = |model| daemon.call("models.unload", json!({ "model": model })).unwrap();
    // What the first request of all needs stays.
    ask("test/small");
    let before = held();
    for model in models {
        ask(model);
        assert!(held() > before + 8 * MB, "{model} takes {} bytes", held() - before);
        unload(model);
        until("it is given back", || held() < before + 4 * MB);
    }
}
