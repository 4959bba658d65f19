//! A machine that sleeps stops every process in the middle of what it does, and lets it go on when it wakes.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use talkied_hub::{Hub, Repo};

use crate::support::{Start, signal_process, text, until};

/// Longer than a beat of anything in the daemon.
const SLEEP: Duration = Duration::from_secs(3);

#[test]
fn answers_and_downloads_go_on_after_a_sleep() {
    const WEIGHTS: u64 = 24 << 20;
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(WEIGHTS, 3));
    hub.slow(4 << 20);
    let start = Start::fake().args(&["--hub", &hub.endpoint(), "--keep-alive", "1s"]);
    let daemon = start.model("test/slow", |files| files.config["fake"] = json!({ "token_ms": 20, "repeat": 10 })).run();
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    let done = || daemon.call("pulls.list", json!({})).unwrap()["pulls"][0]["done_bytes"].as_u64().unwrap_or(0);
    until("the download runs", || done() > 0);
    let mut connection = daemon.connect();
    connection
        .stream(json!({ "model": "test/slow", "prompt": "all through the night ", "options": { "max_tokens": 150 } }));
    let mut told = connection.events_until("text");
    let engine = daemon.call("daemon.status", json!({})).unwrap()["residents"][0]["residency"]["pid"].as_u64().unwrap();
    let all = |signal| [daemon.pid(), engine as u32].into_iter().for_each(|pid| signal_process(pid, signal));
    all(Signal::STOP);
    std::thread::sleep(SLEEP);
    all(Signal::CONT);
    told.extend(connection.events_until("finished"));
    assert_eq!(text(&told), "all through the night ".repeat(10)[..150]);
    until("the download is done", || {
        let models = daemon.call("models.list", json!({})).unwrap();
        models["models"].as_array().unwrap().iter().any(|model| model["id"] == "org/name")
    });
    assert_eq!(hub.sent("model.safetensors"), WEIGHTS, "nothing came twice");
    // What was idle for so long is gone, and comes back.
    until("the model has left", || {
        daemon.call("daemon.status", json!({})).unwrap()["residents"].as_array().unwrap().is_empty()
    });
    let again = json!({ "model": "test/slow", "prompt": "morning", "options": { "max_tokens": 7 } });
    assert_eq!(daemon.call("generate.text", again).unwrap()["text"], "morning");
    assert!(!daemon.home.path().join("crashes").exists());
}
