//! Runs of workflows: what they give, and what becomes of them when something breaks.

#[path = "workflows/bench.rs"]
pub mod bench;
#[path = "workflows/kills.rs"]
mod kills;
#[path = "workflows/terminal.rs"]
mod terminal;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Start, private_folder, until};
use bench::{at_rest, begun, count, entries, outputs, run, show, started, write};

const MEMO: &str = r#"
description = "A title and a list of words"
[inputs]
to = { required = true }
[[step]]
name = "title"
output_key = "title"
llm = { prompt = "Title of: {{TRANSCRIPT}}" }
[[step]]
output_key = "tasks"
[step.llm]
prompt = "Tasks"
schema = { type = "object", properties = { tasks = { type = "array", items = { type = "string", maxLength = 9 }, maxItems = 2 } }, required = ["tasks"], additionalProperties = false }
[[step]]
output_key = "first"
transform = { from = "title", split = " " }
[[step]]
save_file = { path = "{{to}}", text = "{{ {'title': title, 'words': first} | tojson }}" }
"#;

/// A daemon whose model is quick, or takes some time for each token.
fn daemon(token_ms: u64) -> Daemon {
    let fake = move |files: &mut crate::support::model::Files| {
        files.config["fake"] = json!({ "token_ms": token_ms });
        files.answers("Tasks", &json!([r#"{"tasks":["one"]}"#]));
        files.answers("Title of", &json!(["A memo"]));
    };
    bench::start().model("test/echo", fake).run()
}

#[test]
fn a_run_gives_what_its_steps_give() {
    let daemon = daemon(0);
    write(&daemon, "memo", MEMO);
    let folder = private_folder();
    let to = folder.path().join("memo.json");
    let run = run(&daemon, "memo", json!({ "TRANSCRIPT": "Buy milk.", "to": to }));
    let shown = at_rest(&daemon, &run);
    assert_eq!(shown["run"]["state"], "finished", "{shown}");
    assert_eq!(shown["outputs"], json!({ "title": "A memo", "tasks": { "tasks": ["one"] }, "first": ["A", "memo"] }));
    let saved: Value = serde_json::from_str(&fs::read_to_string(&to).unwrap()).unwrap();
    assert_eq!(saved, json!({ "title": "A memo", "words": ["A", "memo"] }));
    assert_eq!(begun(&shown), ["1", "2", "3", "4"]);
    let done = entries(&shown, "done");
    assert!(done[0]["prompt_tokens"].as_u64().unwrap() > 0 && done[0]["cost_usd"] == 0.0, "{done:?}");
    assert!(shown["run"]["completion_tokens"].as_u64().unwrap() > 0);
    let log = daemon.log();
    assert!(!log.contains("Buy milk"), "what a run is about is not logged: {log}");
    let mode = fs::metadata(daemon.home.path().join("workflows.sqlite3")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let usage = daemon.call("usage.get", json!({})).unwrap();
    assert_eq!(usage["rows"][0]["app"], "workflow/memo");
}

#[test]
fn what_cannot_run_is_refused_with_all_that_is_wrong() {
    let daemon = daemon(0);
    let twice = "[[step]]\noutput_key = \"a\"\nllm = { prompt = \"x\" }\n[[step]]\noutput_key = \"a\"\nllm = { prompt = \"{{b}}\" }\n";
    let found = daemon.call("workflows.check", json!({ "text": twice })).unwrap();
    let problems = found["problems"].as_array().unwrap();
    assert_eq!(problems.iter().map(|problem| problem["line"].as_u64().unwrap()).collect::<Vec<_>>(), [5, 6], "{found}");
    for (name, text) in [
        ("twice", twice),
        ("a", "[[step]]\nworkflow = { name = \"b\" }"),
        ("b", "[[step]]\nworkflow = { name = \"a\" }"),
        ("lost", "[[step]]\nworkflow = { name = \"nobody\" }"),
    ] {
        write(&daemon, name, text);
        let error = daemon.call("workflows.run", json!({ "workflow": name })).unwrap_err();
        assert_eq!(error["data"]["kind"], "workflow_invalid", "{name}: {error}");
    }
    let error = daemon.call("workflows.run", json!({ "workflow": "twic" })).unwrap_err();
    assert_eq!(error["data"]["kind"], "workflow_not_found");
    assert!(error["message"].as_str().unwrap().contains("\"twice\""), "{error}");
    write(&daemon, "memo", MEMO);
    for inputs in [json!({}), json!({ "to": "/x", "too": 1 })] {
        let error = daemon.call("workflows.run", json!({ "workflow": "memo", "inputs": inputs })).unwrap_err();
        assert!(error["message"].as_str().unwrap().contains("to"), "{error}");
    }
    assert_eq!(daemon.call("workflows.runs", json!({})).unwrap()["runs"], json!([]));
    for method in ["show", "cancel", "resume"] {
        let error = daemon.call(&format!("workflows.{method}"), json!({ "run": "run_7" })).unwrap_err();
        assert_eq!(error["data"]["kind"], "run_not_found", "{method}");
    }
}

#[test]
fn files_that_others_may_write_are_not_run() {
    let daemon = daemon(0);
    write(&daemon, "memo", "[[step]]\nllm = { prompt = \"x\" }");
    let folder = daemon.home.path().join("Workflows");
    for path in [folder.join("memo.toml"), folder.clone()] {
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let error = daemon.call("workflows.run", json!({ "workflow": "memo" })).unwrap_err();
        assert!(error["message"].as_str().unwrap().contains("others may write"), "{error}");
        let listed = daemon.call("workflows.list", json!(null)).unwrap();
        assert!(listed.to_string().contains("others may write"), "{listed}");
        fs::set_permissions(&path, before).unwrap();
    }
    run(&daemon, "memo", json!({}));
}

#[test]
fn a_dry_run_does_nothing_and_shows_no_secret() {
    let daemon = bench::start().env("TALKIE_KEY_TEAM", "hidden-secret").model("test/echo", |_| {}).run();
    let effects = daemon.home.path().join("effects");
    write(
        &daemon,
        "all",
        &format!(
            r#"
            [[step]]
            output_key = "a"
            llm = {{ prompt = "About {{{{TITLE}}}}" }}
            [[step]]
            shell = {{ command = ["sh", "-c", "echo x >> {effects}"], secrets = {{ TOKEN = "team" }} }}
            [[step]]
            save_file = {{ path = "{effects}", text = "{{{{a}}}}" }}
            "#,
            effects = effects.display()
        ),
    );
    let asked = json!({ "workflow": "all", "inputs": { "TITLE": "me" }, "dry_run": true });
    let plan = daemon.call("workflows.run", asked).unwrap();
    assert_eq!(plan["plan"][0]["parameters"]["prompt"], "About me");
    assert_eq!(plan["plan"][1]["parameters"]["secrets"], json!({ "TOKEN": "team" }));
    assert_eq!(plan["plan"][2]["parameters"]["text"], "{{a}}");
    assert!(!plan.to_string().contains("hidden-secret") && plan.get("run").is_none());
    assert!(!effects.exists());
    assert_eq!(daemon.call("workflows.runs", json!({})).unwrap()["runs"], json!([]));
}

#[test]
fn a_run_keeps_the_version_of_its_file() {
    let mut daemon = daemon(20);
    let text = |word: &str| {
        format!(
            "[[step]]\nllm = {{ prompt = \"something slow to say\" }}\n[[step]]\noutput_key = \"a\"\nllm = {{ prompt = \"{word}\" }}"
        )
    };
    write(&daemon, "changed", &text("old"));
    let run = run(&daemon, "changed", json!({}));
    started(&daemon, &run, "1");
    write(&daemon, "changed", &text("new"));
    daemon.signal(Signal::KILL);
    let daemon = daemon_again(&mut daemon);
    assert_eq!(outputs(&at_rest(daemon, &run)), json!({ "a": "old" }));
}

fn daemon_again(daemon: &mut Daemon) -> &Daemon {
    daemon.restart();
    daemon
}

#[test]
fn a_cancelled_run_stops_and_goes_on_when_somebody_says_so() {
    let daemon = daemon(20);
    write(
        &daemon,
        "slow",
        "[[step]]\noutput_key = \"a\"\nllm = { prompt = \"quick\" }\n[[step]]\noutput_key = \"b\"\nllm = { prompt = \"something that takes long to say\" }",
    );
    let run = run(&daemon, "slow", json!({}));
    started(&daemon, &run, "2");
    let cancelled = daemon.call("workflows.cancel", json!({ "run": run })).unwrap();
    assert_eq!(cancelled["state"], "cancelled");
    until("its request is gone", || daemon.call("daemon.status", json!({})).unwrap()["requests"] == json!([]));
    let error = daemon.call("workflows.cancel", json!({ "run": run })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("cancelled already"), "{error}");
    daemon.call("workflows.resume", json!({ "run": run })).unwrap();
    let shown = at_rest(&daemon, &run);
    assert_eq!(shown["run"]["state"], "finished");
    assert_eq!(count(&shown, "began", "1"), 1);
    let error = daemon.call("workflows.resume", json!({ "run": run })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("finished"), "{error}");
}

#[test]
fn a_failed_run_goes_on_at_the_step_that_failed() {
    let daemon = daemon(0);
    let folder = private_folder();
    let to = folder.path().join("there.txt");
    fs::write(&to, "in the way").unwrap();
    let text = format!(
        "[[step]]\noutput_key = \"a\"\nllm = {{ prompt = \"x\" }}\n[[step]]\nname = \"keep\"\nsave_file = {{ path = \"{}\", text = \"{{{{a}}}}\", exists = \"fail\" }}",
        to.display()
    );
    write(&daemon, "fails", &text);
    let run = run(&daemon, "fails", json!({}));
    let shown = at_rest(&daemon, &run);
    assert_eq!(shown["run"]["state"], "failed");
    assert!(shown["run"]["why"].as_str().unwrap().contains("`keep`"), "{shown}");
    fs::remove_file(&to).unwrap();
    daemon.call("workflows.resume", json!({ "run": run })).unwrap();
    let shown = at_rest(&daemon, &run);
    assert_eq!((&shown["run"]["state"], count(&shown, "began", "1")), (&json!("finished"), 1));
    assert_eq!(fs::read_to_string(&to).unwrap(), "x");
}

#[test]
fn four_runs_go_on_at_once_and_others_wait_in_order() {
    let daemon = daemon(10);
    write(&daemon, "slow", "[[step]]\nllm = { prompt = \"something that takes a while to say\" }");
    let runs: Vec<String> = (0..6).map(|_| run(&daemon, "slow", json!({}))).collect();
    started(&daemon, &runs[3], "1");
    let listed = daemon.call("workflows.runs", json!({})).unwrap();
    let states: Vec<&str> =
        listed["runs"].as_array().unwrap().iter().rev().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["running", "running", "running", "running", "waiting", "waiting"]);
    let cancelled = daemon.call("workflows.cancel", json!({ "run": runs[5] })).unwrap();
    assert_eq!(cancelled["state"], "cancelled");
    for run in &runs[..5] {
        assert_eq!(at_rest(&daemon, run)["run"]["state"], "finished");
    }
    assert_eq!(begun(&at_rest(&daemon, &runs[5])), [] as [&str; 0]);
}

/// Answers every request with 500, and returns where.
fn broken_server() -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            // Whatever is asked; who asks may have gone.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    url
}

#[test]
fn runs_that_wait_for_another_try_hold_up_no_others() {
    let daemon = daemon(1);
    let retry = "on_error = { retry = { times = 3, wait = \"20m\", most_wait = \"20m\" } }";
    let step = format!("[[step]]\n{retry}\nwebhook = {{ url = \"{}\" }}", broken_server());
    write(&daemon, "send", &step);
    write(&daemon, "quick", "[[step]]\ntransform = { from = \"'a'\", split = \"b\" }");
    let stuck: Vec<String> = (0..9).map(|_| run(&daemon, "send", json!({}))).collect();
    for run in &stuck {
        until("its first try has failed", || count(&show(&daemon, run), "failed", "1") == 1);
    }
    let quick = run(&daemon, "quick", json!({}));
    assert_eq!(at_rest(&daemon, &quick)["run"]["state"], "finished");
    for run in &stuck {
        assert_eq!(show(&daemon, run)["run"]["state"], "running");
        let cancelled = daemon.call("workflows.cancel", json!({ "run": run })).unwrap();
        assert_eq!(cancelled["state"], "cancelled");
    }
}

#[test]
fn a_follower_sees_every_entry_in_order_to_the_end() {
    let daemon = daemon(1);
    write(&daemon, "memo", MEMO);
    let folder = private_folder();
    let to = folder.path().join("memo.json");
    let run = run(&daemon, "memo", json!({ "TRANSCRIPT": "Buy milk.", "to": to }));
    let mut connection = daemon.connect();
    connection.call("workflows.subscribe", json!({ "run": run, "after": 0 })).unwrap();
    let mut followed = Vec::new();
    loop {
        let event = connection.event();
        let is_last = event["entry"]["state"] == "finished";
        followed.push(event["entry"].clone());
        if is_last {
            break;
        }
    }
    assert_eq!(json!(followed), at_rest(&daemon, &run)["log"]);
    // One that is over already says so at once.
    let mut late = daemon.connect();
    late.call("workflows.subscribe", json!({ "run": run })).unwrap();
    assert_eq!(late.event()["entry"]["state"], "finished");
}

#[test]
fn a_file_of_runs_that_is_newer_is_left_alone_and_a_damaged_one_is_set_aside() {
    let start = bench::start().model("test/echo", |_| {});
    let file = start.home().join("workflows.sqlite3");
    fs::write(&file, "this is no database, however long it is ".repeat(200)).unwrap();
    let mut daemon = start.run();
    write(&daemon, "one", "[[step]]\nllm = { prompt = \"x\" }");
    let first = run(&daemon, "one", json!({}));
    assert_eq!(at_rest(&daemon, &first)["run"]["state"], "finished");
    let aside = fs::read_dir(daemon.home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(aside.into_iter().any(|name| name.to_string_lossy().contains(".damaged-")));
    assert!(daemon.log().contains("damaged"));
    daemon.call("daemon.shutdown", json!({})).unwrap();
    daemon.wait();
    bench::set_version(&file, 99);
    let daemon = daemon.again();
    let error = daemon.call("workflows.run", json!({ "workflow": "one" })).unwrap_err();
    assert_eq!(error["data"]["kind"], "storage_failed");
    assert!(error["message"].as_str().unwrap().contains("newer talkied"), "{error}");
    daemon.call("generate.text", json!({ "prompt": "all else works" })).unwrap();
}

#[test]
fn a_daemon_that_ends_in_order_fails_no_step_that_can_be_done_again() {
    let mut daemon = Start::fake()
        .args(&["--drain", "0"])
        .model("test/echo", |files| files.config["fake"] = json!({ "token_ms": 20 }))
        .run();
    write(&daemon, "slow", "[[step]]\noutput_key = \"a\"\nllm = { prompt = \"something that takes long to say\" }");
    let run = run(&daemon, "slow", json!({}));
    started(&daemon, &run, "1");
    daemon.signal(Signal::TERM);
    daemon.restart();
    let shown = at_rest(&daemon, &run);
    assert_eq!(shown["run"]["state"], "finished", "{shown}");
    assert_eq!((count(&shown, "began", "1"), entries(&shown, "failed").len()), (2, 0));
}
