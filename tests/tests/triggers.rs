//! What starts workflows by itself, and hooks.

#[path = "triggers/fairness.rs"]
mod fairness;
#[path = "triggers/folders.rs"]
mod folders;
#[path = "triggers/hooks.rs"]
mod hooks;
#[path = "triggers/memos.rs"]
mod memos;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::{Value, json};
use talkied_hub::{Hub, Repo};

use crate::support::{Daemon, Stalls, until};
use crate::workflows::bench::{self, at_rest, write};

/// The runs of a workflow, the latest first.
fn runs(daemon: &Daemon, workflow: &str) -> Vec<Value> {
    let listed = daemon.call("workflows.runs", json!({ "workflow": workflow })).unwrap();
    listed["runs"].as_array().unwrap().clone()
}

/// Waits until a workflow has so many runs, all of which are at rest, and returns them.
fn ran(daemon: &Daemon, workflow: &str, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    until("the runs have ended", || {
        found = runs(daemon, workflow);
        let is_over = |run: &Value| !["waiting", "running"].contains(&run["state"].as_str().unwrap());
        found.len() >= count && found.iter().all(is_over)
    });
    found
}

/// What a run was given.
fn inputs(daemon: &Daemon, run: &Value) -> Value {
    at_rest(daemon, run["run"].as_str().unwrap())["inputs"].clone()
}

/// The one output of a run.
fn output(daemon: &Daemon, run: &Value) -> Value {
    at_rest(daemon, run["run"].as_str().unwrap())["output"].clone()
}

#[test]
fn events_start_runs() {
    let start = bench::start().model("test/echo", |_| {});
    let mut stalls = Stalls::none_in(&start.home());
    let daemon = start.args(&stalls.option()).run();
    write(
        &daemon,
        "seen",
        "[[trigger]]\nevent = { on = [\"model_loaded\", \"model_unloaded\", \"memory_pressure\"] }\n\
         [[step]]\ntransform = { from = \"EVENT\", pointer = \"\" }",
    );
    write(&daemon, "other", "[[trigger]]\nevent = { on = [\"model_added\"] }\n[[step]]\nllm = { prompt = \"x\" }");
    until("it is read", || {
        daemon.call("workflows.list", json!(null)).unwrap()["workflows"].as_array().unwrap().len() == 2
    });
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    let loaded = ran(&daemon, "seen", 1);
    assert_eq!(output(&daemon, &loaded[0]), json!({ "event": "model_loaded", "model": "test/echo" }));
    assert_eq!(loaded[0]["cause"], "model_loaded of test/echo");
    daemon.call("models.unload", json!({ "model": "test/echo" })).unwrap();
    let unloaded = ran(&daemon, "seen", 2);
    let told = json!({ "event": "model_unloaded", "model": "test/echo", "reason": "requested" });
    assert_eq!(output(&daemon, &unloaded[0]), told);
    daemon.call("models.load", json!({ "model": "test/echo", "keep_alive": "forever" })).unwrap();
    ran(&daemon, "seen", 3);
    stalls.until_noticed(&daemon);
    until("the pressure is told", || {
        let found = runs(&daemon, "seen");
        found.iter().any(|run| output(&daemon, run) == json!({ "event": "memory_pressure", "level": "hard" }))
    });
    assert_eq!(runs(&daemon, "other"), [] as [Value; 0]);
}

#[test]
fn downloads_and_models_that_come_and_go_start_runs() {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(1 << 20, 3));
    let daemon = bench::start().args(&["--hub", &hub.endpoint()]).run();
    write(
        &daemon,
        "seen",
        "[[trigger]]\nevent = { on = [\"pull_finished\", \"pull_failed\", \"model_added\", \"model_removed\"] }\n\
         [[step]]\ntransform = { from = \"EVENT\", pointer = \"\" }",
    );
    until("it is read", || {
        daemon.call("workflows.list", json!(null)).unwrap()["workflows"].as_array().is_some_and(|all| all.len() == 1)
    });
    let told = |count: usize| {
        let mut told: Vec<String> = ran(&daemon, "seen", count)
            .iter()
            .map(|run| {
                let told = output(&daemon, run);
                assert!(told["model"].as_str().unwrap().starts_with("org/"), "{told}");
                told["event"].as_str().unwrap().to_owned()
            })
            .collect();
        told.sort();
        told
    };
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    assert_eq!(told(2), ["model_added", "pull_finished"]);
    daemon.call("models.delete", json!({ "model": "org/name" })).unwrap();
    assert_eq!(told(3), ["model_added", "model_removed", "pull_finished"]);
    daemon.call("pulls.start", json!({ "model": "org/absent" })).unwrap();
    assert_eq!(told(4), ["model_added", "model_removed", "pull_failed", "pull_finished"]);
}

#[test]
fn schedules_start_runs_and_a_new_one_has_missed_nothing() {
    let mut daemon = bench::start().run();
    write(
        &daemon,
        "often",
        "[[trigger]]\nschedule = { every = \"1s\" }\n[[step]]\ntransform = { from = \"DATETIME\", split = \"T\" }",
    );
    ran(&daemon, "often", 2);
    daemon.signal(Signal::KILL);
    daemon.wait();
    // One that is there for the first time, though times of it have passed.
    let rare = "[[trigger]]\nschedule = { every = \"1h\" }\n[[step]]\ntransform = { from = \"DATE\", split = \"-\" }";
    write(&daemon, "rare", rare);
    fs::remove_file(daemon.home.path().join("Workflows/often.toml")).unwrap();
    let daemon = daemon.again();
    until("the schedule is known", || {
        daemon.call("workflows.list", json!(null)).unwrap()["workflows"][0]["triggers"] == json!(["every 3600s"])
    });
    let tick = "[[trigger]]\nschedule = { every = \"1s\" }\n[[step]]\ntransform = { from = \"DATE\", split = \"-\" }";
    write(&daemon, "tick", tick);
    ran(&daemon, "tick", 2);
    assert_eq!(runs(&daemon, "rare"), [] as [Value; 0], "another was served twice meanwhile");
}

/// The status and the body of an answer.
fn posted(daemon: &Daemon, request: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

fn post(name: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /workflows/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {headers}\r\n{body}"
    )
}

#[test]
fn requests_with_the_token_start_runs() {
    let daemon = bench::start().env("TALKIE_KEY_DOOR", "open-sesame").run();
    let text = |token: &str| {
        format!(
            "[inputs]\nTO = {{ default = \"me\" }}\n[[trigger]]\nwebhook = {{ token = \"{token}\" }}\n\
             [[step]]\noutput_key = \"said\"\ntransform = {{ from = \"TRANSCRIPT + TO\", regex = \".*\" }}"
        )
    };
    write(&daemon, "hooked", &text("door"));
    write(&daemon, "tokenless", &text("lost"));
    write(&daemon, "closed", "[[step]]\ntransform = { from = \"'a'\", split = \"b\" }");
    let bearer = "Authorization: Bearer open-sesame\r\n";
    for (headers, body, given) in [
        ("", "Buy milk.", json!({ "TRANSCRIPT": "Buy milk." })),
        ("", r#"{"TRANSCRIPT":"a","TO":"you"}"#, json!({ "TRANSCRIPT": "a", "TO": "you" })),
        ("Content-Type: text/plain\r\n", r#"{"TO":"you"}"#, json!({ "TRANSCRIPT": r#"{"TO":"you"}"# })),
        ("Content-Type: application/json; charset=utf-8\r\n", r#"{"TRANSCRIPT":"b"}"#, json!({ "TRANSCRIPT": "b" })),
    ] {
        let (status, answer) = posted(&daemon, &post("hooked", &format!("{bearer}{headers}"), body));
        assert_eq!(status, 202, "{body}: {answer}");
        let shown = at_rest(&daemon, answer["run"].as_str().unwrap());
        assert_eq!((&shown["inputs"], &shown["run"]["cause"]), (&given, &json!("a request")));
    }
    let long = "x".repeat((1 << 20) + 1);
    let json_kind = format!("{bearer}Content-Type: application/json\r\n");
    for (name, headers, body, status, words) in [
        ("hooked", "", "a", 401, "Authorization: Bearer"),
        ("hooked", "Authorization: Bearer open-sesam\r\n", "a", 401, "not that of the workflow"),
        ("hooked", "Authorization: Basic open-sesame\r\n", "a", 401, "Authorization: Bearer"),
        ("hooked", "Authorization: Bearer open-sesame2\r\n", &long, 401, "not that of the workflow"),
        ("hooked", bearer, &long, 413, "1 MiB"),
        ("hooked", &format!("{bearer}Content-Encoding: gzip\r\n"), "a", 415, "Content-Encoding"),
        ("hooked", &format!("{bearer}Content-Type: multipart/form-data\r\n"), "a", 415, "several parts"),
        ("hooked", &json_kind, "[1]", 400, "no object"),
        ("hooked", &json_kind, "{", 400, "no JSON"),
        ("hooked", bearer, r#"{"TOO":1}"#, 400, "TOO"),
        ("closed", bearer, "a", 404, "no trigger `webhook`"),
        ("hookd", bearer, "a", 404, "did you mean \"hooked\"?"),
        ("tokenless", bearer, "a", 503, "talkiectl secret set lost"),
    ] {
        let (got, answer) = posted(&daemon, &post(name, headers, body));
        assert_eq!(got, status, "{name} {headers}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{words}: {answer}");
    }
    let get = "GET /workflows/hooked HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(posted(&daemon, get).0, 405);
    assert_eq!(runs(&daemon, "hooked").len(), 4);
    assert!(!daemon.log().contains("sesame"));
}

#[test]
fn a_storm_of_requests_and_events_is_bounded() {
    let start = bench::start().env("TALKIE_KEY_DOOR", "open-sesame");
    let daemon = start.model("test/echo", |_| {}).run();
    let gate = daemon.home.path().join("gate");
    let text = format!(
        "[[trigger]]\nwebhook = {{ token = \"door\" }}\n[[trigger]]\nevent = {{ on = [\"model_loaded\"] }}\n\
         [[step]]\nshell = {{ command = [\"sh\", \"-c\", \"until [ -e {} ]; do sleep 0.1; done\"] }}",
        gate.display()
    );
    write(&daemon, "slow", &text);
    let mut refused = (0, Value::Null);
    for _ in 0..70 {
        refused = posted(&daemon, &post("slow", "Authorization: Bearer open-sesame\r\n", "a"));
        if refused.0 != 202 {
            break;
        }
    }
    assert_eq!(refused.0, 429, "{}", refused.1);
    assert!(refused.1["error"].as_str().unwrap().contains("64 runs"), "{}", refused.1);
    let before = runs(&daemon, "slow").len();
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    until("the event is said to be lost", || daemon.log().contains("events start nothing until there is room"));
    assert_eq!(runs(&daemon, "slow").len(), before);
    fs::write(gate, "").unwrap();
    ran(&daemon, "slow", before);
    daemon.call("models.unload", json!({ "model": "test/echo" })).unwrap();
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    ran(&daemon, "slow", before + 1);
    until("what was lost is counted", || daemon.log().contains("count=1"));
}
