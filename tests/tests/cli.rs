//! talkiectl against a real daemon.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use talkied_hub::{Hub, Repo};

use crate::support::{Daemon, Start, program};

pub fn run(daemon: &Daemon, args: &[&str], input: &str) -> Output {
    finish(daemon.talkiectl(args), input)
}

pub fn finish(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("talkiectl starts");
    // It may end without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn echo() -> Daemon {
    Start::fake().model("test/echo", |_| {}).run()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn generate_answers_an_argument_and_a_pipe() {
    let daemon = echo();
    let output = run(&daemon, &["generate", "hello there"], "");
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("hello there\n", Some(0)), "{}", stderr(&output));
    let output = run(&daemon, &["generate", "-"], "from a pipe");
    assert_eq!(stdout(&output).trim_end(), "from a pipe");
    let output = run(&daemon, &["generate", "--system", "S:", "--max-tokens", "4", "abcdef"], "");
    assert_eq!(stdout(&output).trim_end(), "S:ab");
}

#[test]
fn no_command_waits_for_ever_for_a_daemon_that_hangs() {
    let home = tempfile::TempDir::with_prefix("t").unwrap();
    let socket = home.path().join("s.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let commands = [&["stop"][..], &["config", "show"], &["status"], &["models"]];
    let children = commands.map(|args| {
        let mut command = Command::new(program("talkiectl"));
        command.env("TALKIE_HOME", home.path()).arg("--socket").arg(&socket).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for (args, child) in commands.iter().zip(children) {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(stderr(&output).contains("does not answer: nothing came for 10 s"), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn generate_json_prints_the_events_of_the_wire() {
    let output = run(&echo(), &["--json", "generate", "--seed", "3", "hi"], "");
    let events: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.first().unwrap()["type"], "queued");
    assert_eq!(events.last().unwrap()["type"], "finished");
    assert!(events.iter().any(|event| event["type"] == "started" && event["seed"] == 3));
}

#[test]
fn failures_have_exit_codes_of_their_own() {
    let daemon = Start::fake()
        .model("test/echo", |_| {})
        .model("test/dies", |files| files.config["fake"] = json!({ "abort_after": 1 }))
        .run();
    for (args, code) in [
        (&["generate", "--model", "no/such", "a"][..], 4),
        (&["generate", "--model", "test/echo", "--temperature", "-1", "a"], 2),
        (&["generate", "--model", "test/dies", "abc"], 5),
        (&["load", "no/such"], 4),
        (&["generate", "--colour"], 2),
        (&["import", "/no/such/file.gguf"], 2),
    ] {
        let output = run(&daemon, args, "");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: "), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_daemon_that_does_not_run_is_said_and_how_to_start_it() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("talkiectl"));
    command.env("TALKIE_HOME", home.path()).env_remove("TALKIE_SOCKET").arg("ping");
    let output = finish(command, "");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("talkied"), "{}", stderr(&output));
}

#[test]
fn generate_starts_the_daemon_and_stop_ends_it() {
    let home = tempfile::TempDir::with_prefix("t").unwrap();
    crate::support::model::install(home.path(), "test/echo", |_| {});
    let command = |args: &[&str]| {
        let mut command = Command::new(program("talkiectl"));
        command.env("TALKIE_HOME", home.path()).env_remove("TALKIE_SOCKET").args(args);
        command.env("TALKIE_ENGINE", env!("CARGO_BIN_EXE_fake-engine")).env("TALKIE_CANDLE", home.path().join("none"));
        command
    };
    let output = finish(command(&["generate", "on demand"]), "");
    assert_eq!(stdout(&output).trim_end(), "on demand", "{}", stderr(&output));
    let output = finish(command(&["ps"]), "");
    assert!(stdout(&output).contains("test/echo"), "{}", stdout(&output));
    let output = finish(command(&["stop"]), "");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    crate::support::until("it is gone", || finish(command(&["ping"]), "").status.code() == Some(3));
}

#[test]
fn models_ps_status_and_ping_tell_what_is_there() {
    let daemon = Start::fake().model("test/echo", |_| {}).model("test/cut", |files| files.weights.truncate(9)).run();
    let models = stdout(&run(&daemon, &["models"], ""));
    assert!(models.contains("test/echo") && models.contains("test/cut"), "{models}");
    assert_eq!(run(&daemon, &["load", "test/echo"], "").status.code(), Some(0));
    assert!(stdout(&run(&daemon, &["ps"], "")).contains("test/echo"));
    assert!(stdout(&run(&daemon, &["status"], "")).contains(&daemon.pid().to_string()));
    let status: Value = serde_json::from_str(&stdout(&run(&daemon, &["--json", "status"], ""))).unwrap();
    assert_eq!(status["pid"], daemon.pid());
    assert_eq!(run(&daemon, &["ping"], "").status.code(), Some(0));
    assert_eq!(run(&daemon, &["unload", "test/echo"], "").status.code(), Some(0));
}

#[test]
fn a_model_is_pulled_checked_measured_and_removed() {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(2 << 20, 1));
    let daemon = Start::fake().args(&["--hub", &hub.endpoint()]).run();
    let good = |args: &[&str]| {
        let output = run(&daemon, args, "");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        stdout(&output)
    };
    let pulls: Vec<Value> =
        good(&["--json", "pull", "org/name"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(pulls.last().unwrap()["state"], "done");
    assert!(good(&["models"]).contains("org/name"));
    assert!(good(&["verify", "org/name"]).contains("model.safetensors"));
    assert!(good(&["du"]).contains("org/name"));
    assert!(good(&["catalogue"]).contains("mlx-community/Qwen2.5-3B-Instruct-4bit"));
    let mistyped = run(&daemon, &["rm", "org/nmae"], "");
    assert_eq!(mistyped.status.code(), Some(4));
    assert!(stderr(&mistyped).contains("org/name"), "the nearest name is suggested: {}", stderr(&mistyped));
    good(&["rm", "org/name"]);
    assert!(!good(&["models"]).contains("org/name"));
    let missing = run(&daemon, &["pull", "org/other"], "");
    assert_eq!(missing.status.code(), Some(4), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("org/other is not on http://127.0.0.1"), "{}", stderr(&missing));
}

#[test]
fn a_folder_is_imported_under_the_name_it_is_given() {
    let daemon = echo();
    let folder = daemon.home.path().join("elsewhere");
    std::fs::rename(daemon.home.path().join("Models/MLX/test_echo"), &folder).unwrap();
    let output = run(&daemon, &["import", folder.to_str().unwrap(), "--model", "my/echo"], "");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = run(&daemon, &["generate", "--model", "my/echo", "carried over"], "");
    assert_eq!(stdout(&output).trim_end(), "carried over", "{}", stderr(&output));
    assert_eq!(run(&daemon, &["verify", "my/echo"], "").status.code(), Some(0));
}
