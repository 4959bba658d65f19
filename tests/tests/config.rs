//! What the daemon is set to: its file, another reading of it, models loaded at the start, and the end of an idle one.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Start, program, until};

fn write(home: &Path, text: &str) {
    fs::write(home.join("config.toml"), text).unwrap();
}

/// A daemon whose home has a file.
fn started(text: &str, start: Start) -> Daemon {
    start.config(text).run()
}

fn setting(daemon: &Daemon, key: &str) -> Value {
    let configuration = daemon.call("daemon.config", json!({})).unwrap();
    let settings = configuration["settings"].as_array().unwrap().clone();
    settings.into_iter().find(|setting| setting["key"] == key).unwrap()
}

fn reload(daemon: &Daemon) -> Result<Value, Value> {
    daemon.call("daemon.reload", json!({}))
}

fn talkiectl(daemon: &Daemon, args: &[&str]) -> (Option<i32>, String, String) {
    told(&daemon.talkiectl(args).stdin(Stdio::null()).output().unwrap())
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_broken_file_keeps_the_daemon_from_starting_and_is_told_with_its_place() {
    let (code, words) = Start::fake().config("queue = 5\nkeep_alvie = 3\n").fail();
    assert_eq!(code, 78, "{words}");
    assert!(words.contains("config.toml:2:1") && words.contains("did you mean keep_alive?"), "{words}");
    let (code, words) = Start::fake().env("TALKIE_DRAIN", "soon").fail();
    assert_eq!(code, 78, "{words}");
    assert!(words.contains("TALKIE_DRAIN is \"soon\""), "{words}");
}

#[test]
fn another_reading_changes_what_may_change_and_names_what_may_not() {
    let daemon = started("keep_alive = \"1h\"\n", Start::fake().model("test/echo", |_| {}));
    daemon.call("generate.text", json!({ "prompt": "warm" })).unwrap();
    let stay = || daemon.call("daemon.status", json!({})).unwrap()["residents"][0]["residency"]["keep_alive"].clone();
    assert_eq!(stay(), 3600);
    write(daemon.home.path(), "keep_alive = \"2h\"\nmodels = [\"/data\"]\n");
    let reloaded = reload(&daemon).unwrap();
    assert_eq!((&reloaded["changed"], &reloaded["needs_restart"]), (&json!(["keep_alive"]), &json!(["models"])));
    assert_eq!(stay(), 7200, "a model that is warm by the configuration stays by the new one");
    let models = setting(&daemon, "models");
    assert_eq!((&models["value"], &models["after_restart"]), (&json!([]), &json!(["/data"])));
    assert_eq!(setting(&daemon, "keep_alive")["line"], 1);
}

#[test]
fn a_stay_that_a_request_asked_for_outlives_another_reading() {
    let daemon = started("", Start::fake().model("test/echo", |_| {}));
    daemon.call("models.load", json!({ "model": "test/echo", "keep_alive": "3h" })).unwrap();
    write(daemon.home.path(), "keep_alive = 1\n");
    reload(&daemon).unwrap();
    let status = daemon.call("daemon.status", json!({})).unwrap();
    assert_eq!(status["residents"][0]["residency"]["keep_alive"], 10_800);
}

#[test]
fn a_shorter_queue_refuses_what_a_longer_one_took() {
    let endless = json!({ "token_ms": 5, "repeat": 500 });
    let daemon =
        started("queue = 8\nbatch = 1\n", Start::fake().model("test/slow", |files| files.config["fake"] = endless));
    let endless = || json!({ "prompt": "on and on ", "options": { "max_tokens": 4000 } });
    let mut connection = daemon.connect();
    connection.stream(endless());
    connection.events_until("text");
    let mut second = daemon.connect();
    second.stream(endless());
    write(daemon.home.path(), "queue = 1\nbatch = 1\n");
    reload(&daemon).unwrap();
    let refused = daemon.call("generate.text", json!({ "prompt": "x" })).unwrap_err();
    assert_eq!(refused["data"]["kind"], "busy");
}

#[test]
fn local_only_holds_from_another_reading_on() {
    let daemon = started("", Start::fake());
    let local_only = || daemon.call("providers.list", json!({})).unwrap()["local_only"].clone();
    assert_eq!(local_only(), false);
    write(daemon.home.path(), "local_only = true\n");
    reload(&daemon).unwrap();
    assert_eq!(local_only(), true);
    write(daemon.home.path(), "");
    reload(&daemon).unwrap();
    assert_eq!(local_only(), false);
}

#[test]
fn a_hang_up_has_the_file_read_again_and_a_broken_one_changes_nothing() {
    let daemon = started("", Start::fake());
    write(daemon.home.path(), "queue = 7\nlog = \"debug\"\nhub = \"http://127.0.0.1:1\"\n");
    daemon.signal(Signal::HUP);
    until("the file is read again", || setting(&daemon, "queue")["value"] == 7);
    until("the log names what needs a restart", || daemon.log().contains("settings=\"hub\""));
    write(daemon.home.path(), "queue = 9\nlog = loud\n");
    daemon.signal(Signal::HUP);
    until("the error is logged with its place", || daemon.log().contains("config.toml:2:7"));
    assert_eq!(setting(&daemon, "queue")["value"], 7);
    let error = reload(&daemon).unwrap_err();
    assert_eq!(error["data"]["kind"], "configuration_error");
    assert!(error["message"].as_str().unwrap().contains("config.toml:2:7"), "{error}");
}

#[test]
fn what_is_logged_changes_with_another_reading() {
    let daemon = started("log = \"error\"\n", Start::fake());
    write(daemon.home.path(), "log = \"info\"\n");
    assert_eq!(daemon.log(), "", "nothing went wrong yet");
    reload(&daemon).unwrap();
    until("it is told", || daemon.log().contains("the configuration was read again"));
}

#[test]
fn models_are_loaded_at_the_start_and_one_that_is_missing_stops_nothing() {
    let file = "preload = [\"no/such\", { model = \"test/echo\", keep_alive = \"2h\" }]\n";
    let daemon = started(file, Start::fake().model("test/echo", |_| {}));
    let preload = || daemon.call("daemon.status", json!({})).unwrap()["preload"].clone();
    until("both are done with", || preload()[1]["state"] == "loaded");
    let missing = &preload()[0];
    assert_eq!((&missing["model"], &missing["state"]), (&json!("no/such"), &json!("failed")));
    assert_eq!(missing["error"]["kind"], "model_not_found");
    let status = daemon.call("daemon.status", json!({})).unwrap();
    assert_eq!(status["residents"][0]["id"], "test/echo");
    assert_eq!(status["residents"][0]["residency"]["keep_alive"], 7200);
    assert!(daemon.log().contains("no/such"), "{}", daemon.log());
    let (_, words, _) = talkiectl(&daemon, &["status"]);
    assert!(words.contains("preload") && words.contains("no/such was not loaded"), "{words}");
    // Once it is there, another reading loads it.
    daemon.install("no/such", |_| {});
    reload(&daemon).unwrap();
    until("it is loaded", || preload()[0]["state"] == "loaded");
}

/// A daemon whose socket was passed to it as systemd does, and the socket.
fn activated(file: &str, home: &Path) -> (Child, UnixListener) {
    write(home, file);
    crate::support::model::install(home, "test/echo", |_| {});
    fs::create_dir(home.join("run")).unwrap();
    let listener = UnixListener::bind(home.join("run/talkied.sock")).unwrap();
    // The shell knows the process that the socket is for: it becomes that.
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" 3<&0 </dev/null";
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(script)
        .arg(program("talkied"))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener.try_clone().unwrap())));
    command.env("TALKIE_HOME", home).env_remove("TALKIE_SOCKET").env("HF_HUB_CACHE", "none");
    command.env("TALKIE_ENGINE", program("fake-engine")).env("TALKIE_CANDLE", home.join("none"));
    command.env("TALKIE_NO_KEYCHAIN", "true");
    (command.spawn().unwrap(), listener)
}

/// One call at a socket that is never gone.
fn call(home: &Path, method: &str, params: &Value) -> Value {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = UnixStream::connect(home.join("run/talkied.sock")).unwrap();
    let line = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str::<Value>(&answer).unwrap()["result"].clone()
}

#[test]
fn one_that_nobody_uses_ends_where_its_socket_was_passed() {
    let home = tempfile::TempDir::with_prefix("t").unwrap();
    let (mut child, _listener) = activated("idle_exit = 1\nkeep_alive = 2\n", home.path());
    let begun = std::time::Instant::now();
    call(home.path(), "generate.text", &json!({ "prompt": "warm", "model": "test/echo" }));
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() >= std::time::Duration::from_secs(3), "not while a model is warm: {:?}", begun.elapsed());
    assert!(home.path().join("run/talkied.sock").exists(), "the socket is the service manager's");
}

#[test]
fn an_open_connection_keeps_it_and_never_is_never() {
    let home = tempfile::TempDir::with_prefix("t").unwrap();
    let (mut child, _listener) = activated("idle_exit = 1\n", home.path());
    let held = UnixStream::connect(home.path().join("run/talkied.sock")).unwrap();
    let uptime = || call(home.path(), "daemon.status", &json!({}))["uptime_ms"].as_u64().unwrap();
    until("more than its time is over", || uptime() > 2500);
    write(home.path(), "");
    let changed = call(home.path(), "daemon.reload", &json!({}));
    assert_eq!(changed["changed"], json!(["idle_exit"]));
    drop(held);
    let begun = std::time::Instant::now();
    until("its former time is over", || begun.elapsed() > std::time::Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "never is never");
    write(home.path(), "idle_exit = 1\n");
    call(home.path(), "daemon.reload", &json!({}));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn idle_exit_is_ignored_where_the_socket_is_its_own() {
    let daemon = started("idle_exit = 1\n", Start::fake());
    until("it says so", || daemon.log().contains("idle_exit is ignored"));
    let begun = std::time::Instant::now();
    until("its time is over", || begun.elapsed() > std::time::Duration::from_millis(1500));
    daemon.call("daemon.ping", json!({})).unwrap();
}

#[test]
fn talkiectl_shows_writes_checks_and_reloads() {
    let daemon = started("queue = 7\n", Start::fake());
    let (code, shown, error) = talkiectl(&daemon, &["config", "show"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(shown.starts_with("the talkied that runs goes by these settings\n"), "{shown}");
    let row = shown.lines().find(|line| line.starts_with("queue")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["queue", "7", "file,", "line", "1"]);
    assert!(shown.lines().any(|line| line.starts_with("engine") && line.ends_with("option --engine")), "{shown}");
    let (code, _, error) = talkiectl(&daemon, &["config", "init"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("is there already"), "{error}");
    assert_eq!(talkiectl(&daemon, &["config", "init", "--force"]).0, Some(0));
    let (code, reloaded, _) = talkiectl(&daemon, &["config", "reload"]);
    assert_eq!(code, Some(0));
    assert!(reloaded.contains("changed        queue"), "{reloaded}");
    write(daemon.home.path(), "local_onyl = true\n");
    let (code, _, error) = talkiectl(&daemon, &["config", "reload"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("config.toml:1:1: there is no setting local_onyl; did you mean local_only?"), "{error}");
    let (code, _, error) = talkiectl(&daemon, &["config", "check"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("did you mean local_only?"), "{error}");
}

#[test]
fn talkiectl_tells_what_one_that_does_not_run_would_go_by() {
    let home = tempfile::TempDir::with_prefix("t").unwrap();
    let ask = |args: &[&str]| {
        let mut command = Command::new(program("talkiectl"));
        command.env("TALKIE_HOME", home.path()).env_remove("TALKIE_SOCKET").env("TALKIE_QUEUE", "9").args(args);
        told(&command.stdin(Stdio::null()).output().unwrap())
    };
    let (code, path, _) = ask(&["config", "path"]);
    let file = home.path().join("config.toml");
    assert_eq!((code, path.trim_end()), (Some(0), file.to_str().unwrap()));
    assert!(ask(&["config", "check"]).1.contains("is not there; the defaults hold"));
    assert_eq!(ask(&["config", "init"]).0, Some(0));
    assert!(ask(&["config", "check"]).1.contains("is right"));
    let (code, shown, error) = ask(&["--json", "config", "show"]);
    assert_eq!(code, Some(0), "{error}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["running"], &shown["is_written"]), (&json!(false), &json!(true)));
    let queue = shown["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == "queue").unwrap();
    assert_eq!(
        (&queue["value"], &queue["source"], &queue["name"]),
        (&json!(9), &json!("environment"), &json!("TALKIE_QUEUE"))
    );
    let schema: Value = serde_json::from_str(&ask(&["config", "schema"]).1).unwrap();
    assert_eq!(schema["properties"]["queue"]["default"], 512);
    assert_eq!(ask(&["config", "reload"]).0, Some(3), "nobody is there to read it again");
    // Places from here on, as every other command takes them.
    let mut command = Command::new(program("talkiectl"));
    command.current_dir(home.path()).env("TALKIE_HOME", ".").args(["--socket", "./t.sock", "config", "check"]);
    let (code, said, error) = told(&command.stdin(Stdio::null()).output().unwrap());
    assert!(code == Some(0) && said.contains("is right"), "{error}");
    // The file is not to blame, and is not to be thrown away.
    command.env("TALKIE_QUEUE", "abc");
    let (code, _, error) = told(&command.output().unwrap());
    assert_eq!(code, Some(1));
    assert!(error.contains("TALKIE_QUEUE is \"abc\"") && !error.contains("--force"), "{error}");
}
