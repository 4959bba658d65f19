//! `talkiectl workflow`, as somebody types it.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use super::bench::{self, at_rest, write};
use crate::support::{Daemon, private_folder};

const TEXT: &str = "description = \"Says it again\"\n[[step]]\noutput_key = \"a\"\nllm = { prompt = \"one\" }\n[[step]]\nname = \"b\"\nllm = { prompt = \"{{TRANSCRIPT | default('')}} {{a}} {{word}}\" }\n[inputs]\nword = { default = \"x\" }\n";

fn daemon() -> Daemon {
    let daemon = bench::start().model("test/echo", |_| {}).run();
    write(&daemon, "say", TEXT);
    daemon
}

fn typed(daemon: &Daemon, arguments: &[&str], input: &str) -> Output {
    let mut command = daemon.talkiectl(&[&["workflow"], arguments].concat());
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // It may not be read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_run_shows_its_steps_and_prints_its_last_output() {
    let daemon = daemon();
    let output = typed(&daemon, &["run", "say", "word=w"], "piped");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "piped one w\n");
    let told = stderr(&output);
    assert!(told.contains("1: llm begins") && told.contains("2 b: llm begins") && told.contains("done"), "{told}");
    let output = typed(&daemon, &["run", "say", "--quiet", "--output", "a"], "");
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("one\n", ""));
    let output = typed(&daemon, &["run", "say", "--json"], "");
    let details: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(details["outputs"]["a"], "one");
    let output = typed(&daemon, &["run", "say", "--detach"], "");
    let run = stdout(&output).trim().to_owned();
    assert_eq!(at_rest(&daemon, &run)["run"]["state"], "finished");
    let log = stdout(&typed(&daemon, &["log", &run, "--follow"], ""));
    assert!(log.contains("running") && log.trim_end().ends_with("finished"), "{log}");
}

#[test]
fn what_there_is_is_listed_and_what_is_wrong_is_told() {
    let daemon = daemon();
    assert!(stdout(&typed(&daemon, &["ls"], "")).contains("Says it again"));
    let shown = stdout(&typed(&daemon, &["show", "say"], ""));
    assert!(shown.contains("llm") && shown.contains("done again"), "{shown}");
    let plan = stdout(&typed(&daemon, &["run", "say", "--dry-run"], "so"));
    assert!(plan.contains("{{TRANSCRIPT | default('')}}") && plan.ends_with("nothing was done\n"), "{plan}");
    assert!(stdout(&typed(&daemon, &["runs"], "")).contains("there are no runs"));
    let file = daemon.home.path().join("broken.toml");
    fs::write(&file, "[[step]]\nllm = { promt = \"x\" }\n").unwrap();
    let output = typed(&daemon, &["check", file.to_str().unwrap(), "say"], "");
    assert_eq!(output.status.code(), Some(6));
    let told = stdout(&output);
    assert!(
        told.contains("broken.toml:2:") && told.contains("`prompt`") && told.contains("say: nothing is wrong"),
        "{told}"
    );
    let schema: Value = serde_json::from_str(&stdout(&typed(&daemon, &["schema"], ""))).unwrap();
    assert!(schema["properties"]["step"].is_object());
    let output = typed(&daemon, &["run", "nobody"], "");
    assert_eq!(output.status.code(), Some(4));
    let output = typed(&daemon, &["cancel", "run_99"], "");
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("workflow runs"), "{}", stderr(&output));
}

#[test]
fn a_failed_run_is_a_failure_and_is_tried_again() {
    let daemon = daemon();
    let folder = private_folder();
    let to = folder.path().join("there");
    fs::write(&to, "").unwrap();
    let text = format!("[[step]]\nsave_file = {{ path = \"{}\", text = \"x\", exists = \"fail\" }}", to.display());
    write(&daemon, "fails", &text);
    let output = typed(&daemon, &["run", "fails"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("workflow retry run_1"), "{}", stderr(&output));
    let output = typed(&daemon, &["retry", "run_1", "--skip"], "");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(at_rest(&daemon, "run_1")["run"]["state"], "finished");
}
