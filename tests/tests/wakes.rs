//! Which threads run for a token, and which while nothing happens: a machine's battery pays for each that wakes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::{Daemon, Start};

/// How often the threads of a process have gone to sleep by themselves, by their names.
fn sleeps(pid: u32) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        // One that ends meanwhile sleeps no more.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        *all.entry(field("Name:").into()).or_default() += field("voluntary_ctxt_switches:").parse::<u64>().unwrap_or(0);
    }
    all
}

fn between(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let since = |name: &String, count: &u64| count.saturating_sub(before.get(name).copied().unwrap_or(0));
    after.iter().map(|(name, count)| (name.clone(), since(name, count))).collect()
}

fn engine_of(daemon: &Daemon) -> u32 {
    let status = daemon.call("daemon.status", json!({})).unwrap();
    status["residents"][0]["residency"]["pid"].as_u64().unwrap() as u32
}

#[test]
fn a_token_wakes_one_thread_of_the_daemon_and_one_of_the_engine() {
    const TOKENS: u64 = 200;
    let fake = json!({ "token_ms": 5, "repeat": 1000 });
    let daemon = Start::fake().model("test/slow", |files| files.config["fake"] = fake).run();
    let mut connection = daemon.connect();
    connection.stream(json!({ "model": "test/slow", "prompt": "on and on ", "options": { "max_tokens": TOKENS } }));
    connection.events_until("text");
    let processes = [daemon.pid(), engine_of(&daemon)];
    let before = processes.map(sleeps);
    connection.events_until("finished");
    let often = |index: usize| {
        let counts = between(&before[index], &sleeps(processes[index]));
        counts.into_iter().filter(|(_, count)| *count > TOKENS / 10).map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(often(0), ["engine-events"]);
    assert_eq!(often(1), ["fake-engine"]);
}

#[test]
fn a_daemon_with_a_model_that_nobody_asks_sleeps() {
    const SECONDS: u64 = 5;
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    daemon.call("generate.text", json!({ "model": "test/echo", "prompt": "hello" })).unwrap();
    let processes = [daemon.pid(), engine_of(&daemon)];
    // What the request has begun is done.
    std::thread::sleep(Duration::from_secs(2));
    let before = processes.map(sleeps);
    std::thread::sleep(Duration::from_secs(SECONDS));
    let counts = [0, 1].map(|index: usize| between(&before[index], &sleeps(processes[index])));
    let total = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    // Once a second it asks whether memory runs short.
    assert!(total(&counts[0]) <= 3 * SECONDS, "{counts:?}");
    assert_eq!(total(&counts[1]), 0, "{counts:?}");
}
