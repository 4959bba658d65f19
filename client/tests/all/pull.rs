//! `pull` and `pulls`: what is shown while a download goes on, and each way it can end.

use std::io::{BufRead, BufReader};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::fake::{Call, Ended, Fake, Seen, gate, pull, run};

/// A daemon that begins a pull and then sends these.
fn pulling(events: &[Value]) -> Fake {
    let events = events.to_vec();
    Fake::new(move |call| answer(call, &events))
}

fn answer(call: &mut Call, events: &[Value]) {
    match call.method() {
        "pulls.start" => call.result(&pull("queued", &json!({}))),
        "pulls.subscribe" => {
            call.subscribed();
            for pull in events {
                call.event(&json!({"pull": pull}));
            }
        }
        _ => call.result(&json!({"models": [], "memory_bytes": 0})),
    }
}

fn halfway() -> Value {
    pull("downloading", &json!({"done_bytes": 500, "total_bytes": 1000, "bytes_per_second": 100, "time_left_ms": 5000}))
}

fn done() -> Value {
    pull("done", &json!({"done_bytes": 1000, "total_bytes": 1000}))
}

#[test]
fn a_pull_is_followed_until_it_is_installed() {
    let fake = pulling(&[pull("planning", &json!({})), halfway(), halfway(), done()]);
    let ended = run(fake.talkiectl(&["pull", "org/x", "--revision", "v2"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "org/x is installed: 1.0 kB\n"));
    let stderr = "org/x: asking the hub\norg/x: 50 % of 1.0 kB, 100 B/s, 5.0 s left\n";
    assert_eq!(ended.stderr, stderr, "one line for each change");
    assert_eq!(fake.sees_call(), ("pulls.start".into(), json!([{"model": "org/x", "revision": "v2"}])));
    assert_eq!(fake.sees_call(), ("pulls.subscribe".into(), json!([{"model": "org/x"}])));
}

#[test]
fn wait_and_quiet_show_the_end_alone() {
    for option in ["--wait", "--quiet"] {
        let fake = pulling(&[halfway(), done()]);
        let ended = run(fake.talkiectl(&["pull", "org/x", option]));
        let stdout = "org/x is installed: 1.0 kB\n";
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""), "{option}");
    }
}

#[test]
fn detach_begins_and_leaves() {
    let fake = pulling(&[]);
    let ended = run(fake.talkiectl(&["pull", "org/x", "--detach"]));
    let stdout = "org/x: waiting; `talkiectl pulls` shows how far it is\n";
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""));
    assert_eq!(fake.sees_call().0, "pulls.start");
    assert_eq!(fake.sees(), Seen::Closed);
    assert_eq!(run(fake.talkiectl(&["pull", "org/x", "--detach", "--wait"])).code, Some(2));
}

#[test]
fn json_is_one_pull_on_each_line_as_it_came() {
    let newer = pull("downloading", &json!({"mirror": "of a newer daemon"}));
    let fake = pulling(&[newer.clone(), pull("unpacking", &json!({})), done()]);
    let ended = run(fake.talkiectl(&["pull", "org/x", "--json"]));
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines, [newer, pull("unpacking", &json!({})), done()]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    let ended = run(fake.talkiectl(&["pull", "org/x", "--json", "--wait"]));
    let line: Value = serde_json::from_str(&ended.stdout).expect("one JSON document");
    assert_eq!(line, done());
}

fn ends_with(last: Value) -> Ended {
    run(pulling(&[halfway(), last]).talkiectl(&["pull", "org/x", "--wait"]))
}

#[test]
fn a_pull_that_fails_says_why_and_what_to_do() {
    for (kind, code, hint) in [
        ("disk_full", 1, "make room: `talkiectl du`"),
        ("access_denied", 2, "accept its terms"),
        ("repository_not_found", 4, "`talkiectl catalogue` lists"),
        ("hub_unavailable", 5, "try again"),
    ] {
        let ended = ends_with(pull("failed", &json!({"error": {"kind": kind, "message": "that went wrong"}})));
        assert_eq!((ended.code, &*ended.stdout), (Some(code), ""));
        let stderr = format!("error: that went wrong\nhint: {hint}");
        assert!(ended.stderr.starts_with(&stderr), "{}", ended.stderr);
    }
    let unexplained = ends_with(pull("failed", &json!({})));
    assert_eq!(unexplained.code, Some(1));
    assert!(unexplained.stderr.starts_with("error: the download of org/x failed\n"), "{}", unexplained.stderr);
}

#[test]
fn a_failure_in_json_is_one_object_on_standard_error() {
    let failed = pull("failed", &json!({"error": {"kind": "disk_full", "message": "full"}}));
    let ended = run(pulling(std::slice::from_ref(&failed)).talkiectl(&["pull", "org/x", "--json"]));
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).expect("JSON"), failed);
    let error: Value = serde_json::from_str(&ended.stderr).expect("JSON");
    assert_eq!((&error["error"]["exit_code"], &error["error"]["data"]["kind"]), (&json!(1), &json!("disk_full")));
}

#[test]
fn a_pull_that_another_client_stopped_is_no_success() {
    let paused = ends_with(pull("paused", &json!({})));
    let stderr = "error: the download of org/x was paused\nhint: `talkiectl pulls resume org/x` goes on with it\n";
    assert_eq!((paused.code, &*paused.stdout, &*paused.stderr), (Some(130), "", stderr));
    let cancelled = ends_with(pull("cancelled", &json!({})));
    let stderr = "error: the download of org/x was cancelled\nhint: `talkiectl pull org/x` begins again\n";
    assert_eq!((cancelled.code, &*cancelled.stderr), (Some(130), stderr));
}

#[test]
fn a_daemon_that_is_killed_goes_on_later() {
    let fake = Fake::new(|call| {
        answer(call, &[halfway()]);
        if call.method() == "pulls.subscribe" {
            call.hang_up();
        }
    });
    let ended = run(fake.talkiectl(&["pull", "org/x", "--wait"]));
    let stderr = "error: the connection to talkied was closed in the middle\nhint: the download goes on when talkied is \
                  back: `talkiectl pulls` shows how far it is, `talkiectl pull org/x` watches it again\n";
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(3), "", stderr));
}

#[test]
fn events_that_cannot_be_understood_are_not_passed_by() {
    let fake = pulling(&[json!({"model": "org/x", "state": "done"})]);
    let ended = run(fake.talkiectl(&["pull", "org/x", "--wait"]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("error: the answer of talkied cannot be understood: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("\nhint: the download goes on: `talkiectl pulls` shows"), "{}", ended.stderr);
}

/// Starts a pull that never ends, presses Ctrl-C once the first line is there, and gives what was said after it.
fn interrupted(arguments: &[&str]) -> (Option<i32>, String) {
    let (_open, wait) = gate();
    let fake = Fake::new(move |call| {
        answer(call, &[halfway()]);
        if call.method() == "pulls.subscribe" {
            wait();
        }
    });
    let mut child: Child = fake.talkiectl(arguments).spawn().expect("the program runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let first: &mut dyn BufRead = if arguments.contains(&"--json") { &mut stdout } else { &mut stderr };
    first.read_line(&mut String::new()).expect("the program says how far it is");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut text).expect("text");
    (child.wait().expect("it ends").code(), text)
}

#[test]
fn ctrl_c_leaves_the_download_to_the_daemon() {
    let note = "note: talkied goes on with the download; `talkiectl pulls` shows how far it is, `talkiectl pulls cancel \
                org/x` ends it\n";
    assert_eq!(interrupted(&["pull", "org/x"]), (Some(130), note.into()));
    assert_eq!(interrupted(&["pull", "org/x", "--json"]), (Some(130), String::new()), "programs read no notes");
}

#[test]
fn pulls_are_listed() {
    let listed = json!({"pulls": [halfway()]});
    let sent = listed.clone();
    let fake = Fake::new(move |call| call.result(&sent));
    let ended = run(fake.talkiectl(&["pulls"]));
    let stdout = "MODEL  STATE  DONE   TOTAL   RATE     LEFT\norg/x  50 %   500 B  1.0 kB  100 B/s  5.0 s\n";
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""));
    assert_eq!(fake.sees_call(), ("pulls.list".into(), Value::Null));
    let json = run(fake.talkiectl(&["pulls", "--json"])).stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), listed);
}

#[test]
fn pulls_are_paused_resumed_and_cancelled() {
    for (what, state, stdout) in [
        ("pause", "paused", "org/x is paused at 500 B\n"),
        ("resume", "queued", "org/x: waiting; `talkiectl pulls` shows how far it is\n"),
        ("cancel", "cancelled", "org/x is cancelled\n"),
    ] {
        let fake = Fake::new(move |call| call.result(&pull(state, &json!({"done_bytes": 500}))));
        let ended = run(fake.talkiectl(&["pulls", what, "org/x"]));
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""));
        assert_eq!(fake.sees_call(), (format!("pulls.{what}"), json!([{"model": "org/x"}])));
    }
}
