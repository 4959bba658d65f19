//! Both framings, as strangers speak them.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Daemon, Start};

fn run(daemon: &Daemon, program: &str, args: &[&str], input: &str) -> Value {
    let mut child = Command::new(program)
        .args(args.iter().map(|arg| arg.replace("SOCKET", daemon.socket().to_str().unwrap())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).expect("an answer in JSON")
}

#[test]
fn curl_posts_a_request() {
    let daemon = Start::fake().run();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"daemon.ping"}"#;
    let args =
        ["-s", "--unix-socket", "SOCKET", "-H", "content-type: application/json", "http://localhost/", "-d", body];
    assert_eq!(run(&daemon, "curl", &args, "")["result"]["pid"], daemon.pid());
}

#[test]
fn a_half_closed_connection_is_answered_as_netcat_needs_it() {
    let daemon = Start::fake().run();
    let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                  s.sendall(sys.stdin.buffer.read()); s.shutdown(1); print(s.makefile().read())";
    let input = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.ping\"}\n";
    assert_eq!(run(&daemon, "python3", &["-c", script, "SOCKET"], input)["result"]["pid"], daemon.pid());
}

#[test]
fn noise_on_one_connection_disturbs_no_other() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let mut calm = daemon.connect();
    let noise: [&[u8]; 4] = [&[0, 159, 146, 150, 10], b"{\"jsonrpc\":\n", &[b'['; 10_000], b"GET / HTTP/9\r\n\r\n"];
    let loud: Vec<_> = noise
        .into_iter()
        .map(|bytes| {
            let mut connection = daemon.connect();
            connection.send(bytes);
            connection
        })
        .collect();
    assert_eq!(calm.call("generate.text", json!({ "prompt": "calm" })).unwrap()["text"], "calm");
    drop(loud);
    assert_eq!(calm.call("generate.text", json!({ "prompt": "still" })).unwrap()["text"], "still");
}

#[test]
fn a_batch_mixes_answers_of_every_kind() {
    let daemon = Start::fake().run();
    let mut connection = daemon.connect();
    connection.send(br#"[{"jsonrpc":"2.0","id":1,"method":"daemon.ping"},{"jsonrpc":"2.0","method":"daemon.ping"},{"jsonrpc":"2.0","id":"x","method":"models.lst"},7]"#);
    connection.send(b"\n");
    let answers = connection.line().unwrap();
    let mut answers = answers.as_array().unwrap().clone();
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!(answers.len(), 3, "a notification has no answer: {answers:?}");
    assert_eq!(answers[0]["error"]["code"], -32601);
    assert_eq!(answers[1]["result"]["pid"], daemon.pid());
    assert_eq!(answers[2]["error"]["code"], -32600);
}

#[test]
fn params_given_to_a_method_without_any_are_named() {
    let daemon = Start::fake().run();
    let error = daemon.call("daemon.ping", json!({ "verbose": true })).unwrap_err();
    assert_eq!(error["code"], -32602);
    assert!(error.to_string().contains("verbose"), "{error}");
}
