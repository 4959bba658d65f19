//! The log in the home, and `talkiectl logs`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Start, program, signal_process, until};

fn path(daemon: &Daemon) -> PathBuf {
    daemon.home.path().join("logs/talkied.log")
}

fn text(daemon: &Daemon) -> String {
    fs::read_to_string(path(daemon)).unwrap_or_default()
}

fn talkiectl(daemon: &Daemon, args: &[&str]) -> (i32, String, String) {
    let output = daemon.talkiectl(args).output().unwrap();
    let words = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), words(output.stdout), words(output.stderr))
}

#[test]
fn the_daemon_writes_a_log_that_is_its_users_alone() {
    let mut daemon = Start::fake().model("test/echo", |_| {}).run();
    until("it says so", || text(&daemon).contains("listening"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path(&daemon)), mode(path(&daemon).parent().unwrap())), (0o600, 0o700));
    daemon.call("generate.text", json!({ "prompt": "a prompt that is nobody's business" })).unwrap();
    daemon.call("daemon.shutdown", json!({})).unwrap();
    daemon.wait();
    assert!(text(&daemon).contains("asked to end"), "what was said last is there: {}", text(&daemon));
    assert!(!text(&daemon).contains("nobody's business"));
    assert!(!text(&daemon).contains('\u{1b}'), "no colours");
    let daemon = daemon.again();
    until("it goes on behind it", || text(&daemon).matches("listening").count() == 2);
}

#[test]
fn a_daemon_that_cannot_write_to_standard_error_serves() {
    let daemon = Start::fake().model("test/echo", |_| {}).with_a_full_stderr().run();
    let answer = daemon.call("generate.text", json!({ "prompt": "still" })).unwrap();
    assert_eq!(answer["text"], "still");
    until("the log has it", || text(&daemon).contains("engine started"));
}

#[test]
fn a_log_that_cannot_be_written_stops_nobody() {
    let start = Start::fake().model("test/echo", |_| {});
    fs::write(start.home().join("logs"), "a file").unwrap();
    let daemon = start.run();
    assert_eq!(daemon.call("generate.text", json!({ "prompt": "still" })).unwrap()["text"], "still");
    until("it is told", || daemon.log().contains("the log cannot be written there"));
}

#[test]
fn a_log_that_is_taken_away_is_begun_anew() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    until("it is there", || text(&daemon).contains("listening"));
    fs::remove_dir_all(daemon.home.path().join("logs")).unwrap();
    daemon.call("generate.text", json!({ "prompt": "more" })).unwrap();
    until("there is another", || text(&daemon).contains("engine started"));
}

#[test]
fn a_daemon_started_on_demand_says_everything_once() {
    let home = tempfile::TempDir::with_prefix("t").unwrap();
    let talkiectl = |args: &[&str]| {
        let mut command = Command::new(program("talkiectl"));
        command.env("TALKIE_HOME", home.path()).env_remove("TALKIE_SOCKET").args(args);
        command.env("TALKIE_ENGINE", program("fake-engine")).env("TALKIE_CANDLE", home.path().join("none"));
        command.env("HF_HUB_CACHE", home.path().join("hub")).output().unwrap()
    };
    crate::support::model::install(home.path(), "test/echo", |_| {});
    assert!(talkiectl(&["generate", "hi"]).status.success());
    assert!(talkiectl(&["stop"]).status.success());
    until("it is gone", || talkiectl(&["ping"]).status.code() == Some(3));
    let read = |name: &str| fs::read_to_string(home.path().join("logs").join(name)).unwrap_or_default();
    assert!(read("talkied.log").contains("engine started"), "{}", read("talkied.log"));
    assert!(
        read("start.log").contains("listening") && !read("start.log").contains("engine started"),
        "{}",
        read("start.log")
    );
    assert!(!home.path().join("talkied.log").exists());
}

#[test]
fn a_failed_start_shows_why() {
    let daemon = Start::fake().run();
    // The lock of the socket is held; so a daemon that is started with another name of the socket's folder ends at once.
    let other = tempfile::TempDir::with_prefix("t").unwrap();
    fs::write(other.path().join("run"), "no folder").unwrap();
    let mut command = daemon.talkiectl(&["models"]);
    command.env("TALKIE_HOME", other.path());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("cannot make the directory") && stderr.contains("logs/start.log"), "{stderr}");
}

#[test]
fn logs_shows_the_last_lines_in_words_and_as_json() {
    let daemon = Start::fake().run();
    until("it is there", || text(&daemon).contains("listening"));
    let (code, stdout, stderr) = talkiectl(&daemon, &["logs", "-n", "1"]);
    assert_eq!((code, stdout.lines().count(), &*stderr), (0, 1, ""));
    let (_, all, _) = talkiectl(&daemon, &["logs"]);
    assert!(all.contains("listening"), "{all}");
    let (_, stdout, _) = talkiectl(&daemon, &["logs", "--json"]);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listening = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with("listening")).unwrap();
    assert_eq!((&listening["level"], &listening["target"]), (&json!("INFO"), &json!("talkied")));
}

#[test]
fn logs_without_a_log_says_where_it_would_be() {
    let home = tempfile::TempDir::with_prefix("t").unwrap();
    let mut command = Command::new(program("talkiectl"));
    let output = command.env("TALKIE_HOME", home.path()).arg("logs").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr.contains(&format!("{}/logs/talkied.log", home.path().display())), "{stderr}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "it starts no daemon");
}

#[test]
fn logs_follows_over_a_rotation_and_ends_well_on_ctrl_c() {
    let daemon = Start::fake().run();
    until("it is there", || text(&daemon).contains("listening"));
    let mut child = daemon.talkiectl(&["logs", "-n", "1", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().is_some());
    fs::rename(path(&daemon), daemon.home.path().join("logs/talkied.log.1")).unwrap();
    daemon.call("daemon.shutdown", json!({})).unwrap();
    assert!(lines.any(|line| line.contains("asked to end")));
    signal_process(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
