//! Runs that keep an engine busy hold up nobody who waits for an answer: counted in the engine's steps.

use serde_json::{Value, json};

use super::{ran, runs};
use crate::support::{Connection, Daemon, text, until};
use crate::workflows::bench::{self, run, write};

/// Prompts in which this stands are answered with numbers of steps.
const ASKS: &str = "how many steps";

/// Runs that go on at once, and those that may wait beside them.
const AT_ONCE: usize = 4;
const WAITING: usize = 64;

/// Four runs of it ask sixty-four things at once, each for long, and again and again.
const BUSY: &str = r#"
[[step]]
output_key = "items"
transform = { from = "'abcdefghijklmnop'", regex = ".", all = true }
[[step]]
for_each = { items = "items", parallel = 16, step = [{ llm = { prompt = "{{item}} on and on", max_tokens = 500 } }] }
[[step]]
for_each = { items = "items", parallel = 16, step = [{ llm = { prompt = "{{item}} on and on", max_tokens = 500 } }] }
"#;

/// A daemon with a model that takes so long for a step, in a batch of so many rows, and the workflow.
fn daemon(batch: usize) -> Daemon {
    let fake = json!({ "token_ms": 15, "prefill_chunk": 10, "repeat": 500, "tell_steps_to": ASKS });
    let start = bench::start().args(&["--batch", &batch.to_string()]);
    let daemon = start.model("test/counts", |files| files.config["fake"] = fake).run();
    daemon.call("models.load", json!({ "model": "test/counts" })).unwrap();
    write(&daemon, "busy", BUSY);
    daemon
}

/// Steps that the engine had done when the request came, before the answer's first token, and when it ended.
#[derive(Debug, Clone, Copy)]
struct Told {
    came: u64,
    first: u64,
    ended: u64,
}

fn ask(connection: &mut Connection) -> Told {
    let request = json!({ "prompt": ASKS, "priority": "interactive", "options": { "max_tokens": 100 } });
    connection.stream(request);
    let told = text(&connection.events_until("finished"));
    let numbers: Vec<u64> = told.split(' ').map(|number| number.parse().unwrap()).collect();
    let [came, first, _] = numbers[..] else { panic!("three numbers: {told}") };
    // A step for each byte, and one for the end.
    Told { came, first, ended: first + told.len() as u64 + 1 }
}

/// Waits until every row of the batch is one of a run.
fn filled(daemon: &Daemon, batch: usize) {
    until("the batch is full of runs", || {
        let status = daemon.call("daemon.status", json!({})).unwrap();
        let requests = status["requests"].as_array().unwrap();
        let of_runs = |request: &&Value| request["app"] == "workflow/busy" && request["priority"] == "background";
        let answers = |request: &&Value| request["completion_tokens"].as_u64().is_some_and(|count| count > 0);
        requests.iter().filter(of_runs).filter(answers).count() >= batch
    });
}

#[test]
fn an_interactive_request_begins_within_two_steps_while_runs_fill_the_batch() {
    for batch in [4, 32] {
        let daemon = daemon(batch);
        for _ in 0..AT_ONCE * 2 {
            run(&daemon, "busy", json!({}));
        }
        filled(&daemon, batch);
        let mut urgent = daemon.connect();
        let mut last = ask(&mut urgent);
        for _ in 0..8 {
            filled(&daemon, batch);
            // From the end of the one before, asked at once, nothing lies between but the two.
            let before = ask(&mut urgent);
            let told = ask(&mut urgent);
            assert_eq!(told.first - told.came, 0, "it waits for no row: {told:?}");
            assert!(told.first - before.ended <= 2, "{told:?} after {before:?}, batch {batch}");
            assert!(before.first > last.ended, "the runs go on meanwhile: {before:?} after {last:?}");
            last = told;
        }
        assert!(
            runs(&daemon, "busy").iter().all(|run| ["waiting", "running"].iter().any(|state| run["state"] == *state))
        );
    }
}

#[test]
fn runs_that_take_all_places_block_no_app() {
    let daemon = daemon(32);
    let gate = daemon.home.path().join("gate");
    let waits = format!(
        "[[step]]\nshell = {{ command = [\"sh\", \"-c\", \"until [ -e {} ]; do sleep 0.1; done\"] }}",
        gate.display()
    );
    write(&daemon, "waits", &waits);
    for _ in 0..AT_ONCE + WAITING {
        run(&daemon, "waits", json!({}));
    }
    let count = |state: &str| runs(&daemon, "waits").iter().filter(|run| run["state"] == state).count();
    until("four go on", || count("running") == AT_ONCE);
    assert_eq!(count("waiting"), WAITING);
    // None of the runs can end before the gate is open: whoever waited for one would wait in vain.
    for (method, params) in [
        ("models.list", json!({})),
        ("daemon.status", json!({})),
        ("workflows.list", json!(null)),
        ("workflows.runs", json!({})),
        ("generate.text", json!({ "prompt": "a", "options": { "max_tokens": 4 } })),
        ("generate.text", json!({ "prompt": "a", "priority": "background", "options": { "max_tokens": 4 } })),
    ] {
        daemon.call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"));
    }
    assert_eq!((count("running"), count("waiting")), (AT_ONCE, WAITING));
    std::fs::write(gate, "").unwrap();
    ran(&daemon, "waits", AT_ONCE + WAITING);
}
