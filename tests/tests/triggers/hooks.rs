//! Programs and requests that follow events.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Daemon, until};
use crate::workflows::bench;

fn write(home: &Path, text: &str) {
    let (new, path) = (home.join("hooks.new"), home.join("hooks.toml"));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

fn load(daemon: &Daemon) {
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
}

fn unload(daemon: &Daemon) {
    daemon.call("models.unload", json!({ "model": "test/echo" })).unwrap();
}

#[test]
fn a_program_gets_the_event() {
    let start = bench::start().model("test/echo", |_| {});
    let told = start.home().join("told");
    let script = format!("{{ cat; echo; echo $TALKIE_EVENT $TALKIE_MODEL $TALKIE_REASON; }} >> {}", told.display());
    let text =
        format!("[[hook]]\non = [\"model_loaded\", \"model_unloaded\"]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    write(&start.home(), &text);
    let daemon = start.run();
    let lines = || fs::read_to_string(&told).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    load(&daemon);
    until("the program has run", || lines().len() == 2);
    unload(&daemon);
    until("the program has run again", || lines().len() == 4);
    let lines = lines();
    let event: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(event, json!({ "event": "model_loaded", "model": "test/echo" }));
    assert_eq!(lines[1], "model_loaded test/echo");
    assert_eq!(lines[3], "model_unloaded test/echo requested");
}

#[test]
fn a_server_gets_the_event() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = bench::start().env("TALKIE_KEY_TEAM", "hidden-token").model("test/echo", |_| {});
    let url = format!("http://{}/x", server.local_addr().unwrap());
    write(
        &start.home(),
        &format!("[[hook]]\non = [\"model_loaded\"]\nwebhook = {{ url = \"{url}\", bearer = \"team\" }}\n"),
    );
    let daemon = start.run();
    load(&daemon);
    let (mut stream, _) = server.accept().unwrap();
    let mut request = String::new();
    while !request.ends_with('}') {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).unwrap();
        request.push_str(std::str::from_utf8(&some[..count]).unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(request.starts_with("POST /x "), "{request}");
    assert!(request.to_ascii_lowercase().contains("authorization: bearer hidden-token"), "{request}");
    assert!(request.ends_with(r#"{"event":"model_loaded","model":"test/echo"}"#), "{request}");
    assert!(!daemon.log().contains("hidden-token"));
}

#[test]
fn a_run_that_ends_is_told() {
    let start = bench::start();
    let told = start.home().join("told");
    let script = format!("cat >> {}; echo >> {}", told.display(), told.display());
    write(&start.home(), &format!("[[hook]]\non = [\"run_ended\"]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"));
    let daemon = start.run();
    bench::write(&daemon, "good", "[[step]]\ntransform = { from = \"'a'\", split = \"b\" }");
    bench::write(&daemon, "bad", "[[step]]\ntransform = { from = \"'a'\", json = true }");
    let lines = || {
        let text = fs::read_to_string(&told).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect::<Vec<Value>>()
    };
    for (count, workflow) in [(1, "good"), (2, "bad")] {
        daemon.call("workflows.run", json!({ "workflow": workflow })).unwrap();
        until("the program has run", || lines().len() == count);
    }
    let told = lines();
    let good =
        json!({ "event": "run_ended", "run": "run_1", "workflow": "good", "state": "finished", "cause": "by hand" });
    assert_eq!(told[0], good);
    assert_eq!((&told[1]["workflow"], &told[1]["state"]), (&json!("bad"), &json!("failed")));
    assert!(told[1]["why"].as_str().unwrap().contains("JSON"), "{}", told[1]);
}

#[test]
fn what_is_wrong_is_said_and_what_fails_holds_up_nothing() {
    let start = bench::start().model("test/echo", |_| {});
    let home = start.home();
    write(&home, "[[hook]]\non = [\"model_loadd\"]\ncommand = [\"sh\"]\n");
    let daemon = start.run();
    until("the mistake is told", || daemon.log().contains("line 2, column 7"));
    // One that may not run, one that fails, and one that hangs until its time is over.
    write(
        &home,
        "[[hook]]\non = [\"model_loaded\"]\ncommand = [\"env\"]\n\
         [[hook]]\non = [\"model_loaded\"]\ncommand = [\"sh\", \"-c\", \"echo no >&2; exit 3\"]\n\
         [[hook]]\non = [\"model_loaded\"]\ncommand = [\"sh\", \"-c\", \"sleep 1000\"]\ntimeout = \"1s\"\n",
    );
    load(&daemon);
    for words in ["env is not among the programs", "exit code 3; it said: no", "had not ended after 1s"] {
        until("it is told", || daemon.log().contains(words));
    }
    fs::set_permissions(home.join("hooks.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    unload(&daemon);
    load(&daemon);
    until("it is told", || daemon.log().contains("others may write to it"));
}
