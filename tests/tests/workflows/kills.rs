//! A daemon that is killed with SIGKILL at every entry of a run's log, and what the next one makes of the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::bench::{self, at_rest, begun, count, entries, outputs, run, show, started, write};
use crate::support::{Daemon, private_folder, until};

/// Each effect is a line in the file OUT.
const STRAIGHT: &str = r#"
[inputs]
OUT = { required = true }
[[step]]
output_key = "a"
llm = { prompt = "first" }
[[step]]
idempotent = true
shell = { command = ["sh", "-c", "echo 2 >> \"$OUT\"; echo done"], environment = { OUT = "{{OUT}}" } }
[[step]]
output_key = "c"
transform = { from = "a", regex = "[a-z]" }
[[step]]
output_key = "d"
shell = { command = ["sh", "-c", "echo 4 >> \"$OUT\"; printf done"], environment = { OUT = "{{OUT}}" } }
[[step]]
save_file = { path = "{{OUT}}.saved", text = "{{a}} {{c}} {{d}}" }
"#;

const ITEMS: &str = r#"
[inputs]
OUT = { required = true }
[[step]]
output_key = "list"
transform = { from = "'a b c'", split = " " }
[[step]]
output_key = "all"
for_each = { items = "list", as = "item", parallel = 2, step = [
    { output_key = "said", llm = { prompt = "say {{item}}" } },
    { shell = { command = ["sh", "-c", "echo \"$ITEM\" >> \"$OUT\"; printf \"$ITEM\""], environment = { OUT = "{{OUT}}", ITEM = "{{item}}" } } },
] }
[[step]]
conditional = { if = "all | length == 3", then = [ { output_key = "last", llm = { prompt = "all" } } ] }
"#;

const CALLS: &str = r#"
[inputs]
OUT = { required = true }
[[step]]
output_key = "inner"
workflow = { name = "straight", inputs = { OUT = "{{OUT}}" } }
[[step]]
name = "again"
output_key = "b"
llm = { prompt = "{{inner.a}} and more" }
"#;

fn daemon() -> Daemon {
    let daemon = bench::start().model("test/echo", |files| files.config["fake"] = json!({ "token_ms": 1 })).run();
    for (name, text) in [("straight", STRAIGHT), ("items", ITEMS), ("calls", CALLS)] {
        write(&daemon, name, text);
    }
    daemon
}

/// How often each effect was had.
fn effects(file: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// Begins a run and kills the daemon as soon as its log has so many entries; false where it ended before.
fn killed_at(daemon: &mut Daemon, workflow: &str, out: &Path, entry: usize) -> Option<String> {
    let run = run(daemon, workflow, json!({ "OUT": out }));
    let mut connection = daemon.connect();
    connection.call("workflows.subscribe", json!({ "run": run, "after": 0 })).unwrap();
    for _ in 0..entry {
        if connection.event()["entry"]["state"] == "finished" {
            return None;
        }
    }
    daemon.signal(Signal::KILL);
    daemon.restart();
    Some(run)
}

/// Has an interrupted run go on until it is finished, and returns how often that was needed.
fn finished(daemon: &Daemon, run: &str) -> (Value, usize) {
    for interruptions in 0..3 {
        let shown = at_rest(daemon, run);
        if shown["run"]["state"] != "interrupted" {
            return (shown, interruptions);
        }
        assert!(shown["run"]["why"].as_str().unwrap().contains("was begun"), "{shown}");
        daemon.call("workflows.resume", json!({ "run": run, "open": "again" })).unwrap();
    }
    panic!("it is interrupted again and again");
}

/// Kills the daemon at each entry of the log of a workflow; the steps that may not be done twice are those of `once`.
fn every_entry(workflow: &str, once: &[&str]) {
    let (mut daemon, folder) = (daemon(), private_folder());
    let whole = run(&daemon, workflow, json!({ "OUT": folder.path().join("whole") }));
    let expected = outputs(&at_rest(&daemon, &whole));
    let expected_effects = effects(&folder.path().join("whole"));
    for entry in 1.. {
        let out = folder.path().join(format!("out-{entry}"));
        let Some(run) = killed_at(&mut daemon, workflow, &out, entry) else {
            assert!(entry > 8, "the log is as long as the run");
            return;
        };
        let (shown, interruptions) = finished(&daemon, &run);
        assert_eq!(outputs(&shown), expected, "killed at entry {entry}");
        let places: Vec<&str> = begun(&shown);
        for place in &places {
            assert_eq!(count(&shown, "done", place), 1, "killed at entry {entry}, {place} of {shown}");
            assert!(is_never_begun_after_done(&shown, place), "killed at entry {entry}, {place} of {shown}");
        }
        for place in once {
            let begun = count(&shown, "began", place);
            assert!(begun == 1 || interruptions > 0, "killed at entry {entry}: {place} was begun {begun} times");
        }
        // An effect more than in a whole run is one of a step that was in its midst.
        let had = effects(&out);
        assert_eq!(had.keys().collect::<Vec<_>>(), expected_effects.keys().collect::<Vec<_>>());
        let again = places.len() - places.iter().collect::<std::collections::BTreeSet<_>>().len();
        let more = had.values().sum::<usize>() - expected_effects.values().sum::<usize>();
        assert!(more <= again, "killed at entry {entry}: {more} effects more by {again} steps done again");
    }
}

fn is_never_begun_after_done(shown: &Value, place: &str) -> bool {
    let of_place = shown["log"].as_array().unwrap().iter().filter(|entry| entry["place"] == place);
    let kinds: Vec<&str> = of_place.map(|entry| entry["type"].as_str().unwrap()).collect();
    kinds.iter().position(|kind| *kind == "done").is_none_or(|done| !kinds[done..].contains(&"began"))
}

#[test]
fn steps_one_after_the_other() {
    every_entry("straight", &["4"]);
}

#[test]
fn items_side_by_side_and_a_conditional() {
    every_entry("items", &["2.1.2", "2.2.2", "2.3.2"]);
}

#[test]
fn a_called_workflow() {
    every_entry("calls", &["1.4"]);
}

/// A step that waits until a file is there.
const WAITS: &str = r#"
[inputs]
GATE = { required = true }
[[step]]
output_key = "a"
llm = { prompt = "before" }
[[step]]
name = "gate"
output_key = "b"
shell = { command = ["sh", "-c", "echo begun >> \"$GATE.begun\"; until [ -e \"$GATE\" ]; do sleep 0.02; done; printf passed"], environment = { GATE = "{{GATE}}" } }
[[step]]
output_key = "c"
llm = { prompt = "after" }
"#;

#[test]
fn a_step_left_open_that_may_not_be_done_twice_interrupts_the_run() {
    let mut daemon = daemon();
    write(&daemon, "waits", WAITS);
    for (open, expected) in [
        ("again", json!({ "a": "before", "b": "passed", "c": "after" })),
        ("skip", json!({ "a": "before", "c": "after" })),
    ] {
        let gate = daemon.home.path().join(open);
        let run = run(&daemon, "waits", json!({ "GATE": gate }));
        until("the program waits", || gate.with_extension("begun").exists());
        started(&daemon, &run, "2");
        daemon.signal(Signal::KILL);
        daemon.restart();
        let shown = at_rest(&daemon, &run);
        assert_eq!(shown["run"]["state"], "interrupted");
        assert!(shown["run"]["why"].as_str().unwrap().contains("`gate`"), "{shown}");
        // It stays so over further starts, and until somebody says what to do.
        daemon.signal(Signal::KILL);
        daemon.restart();
        assert_eq!(show(&daemon, &run)["run"]["state"], "interrupted");
        let error = daemon.call("workflows.resume", json!({ "run": run })).unwrap_err();
        assert_eq!(error["data"]["kind"], "invalid_params");
        fs::write(&gate, "").unwrap();
        daemon.call("workflows.resume", json!({ "run": run, "open": open })).unwrap();
        let shown = at_rest(&daemon, &run);
        assert_eq!(outputs(&shown), expected);
        assert_eq!(count(&shown, "began", "1"), 1);
        let begun = fs::read_to_string(gate.with_extension("begun")).unwrap().lines().count();
        assert_eq!(begun, if open == "again" { 2 } else { 1 });
        assert_eq!(entries(&shown, "skipped").len(), usize::from(open == "skip"));
    }
}

#[test]
fn runs_that_waited_go_on_after_a_kill() {
    let (mut daemon, folder) = (daemon(), private_folder());
    let outs: Vec<_> = (0..8).map(|number| folder.path().join(format!("many-{number}"))).collect();
    let runs: Vec<String> = outs.iter().map(|out| run(&daemon, "straight", json!({ "OUT": out }))).collect();
    for _ in 0..3 {
        daemon.signal(Signal::KILL);
        daemon.restart();
    }
    for (run, out) in runs.iter().zip(&outs) {
        let (shown, _) = finished(&daemon, run);
        outputs(&shown);
        assert!(out.with_extension("saved").exists());
    }
}
