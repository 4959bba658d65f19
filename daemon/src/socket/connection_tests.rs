use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::super::Limits;
use super::super::testing::{Client, Server, matches, request, within};

fn post(body: &str) -> Vec<u8> {
    // As `curl -d` sends it: curl calls every body a form.
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn posted(server: &Server, body: &str) -> Value {
    let mut client = server.connect().await;
    client.send(&post(body)).await;
    let response = client.bytes().await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn what_is_neither_json_nor_http_is_told_so() {
    let server = Server::start(Limits::default());
    let long = vec![0xff; 100_000];
    for noise in [b"\x16\x03\x01\x02\x00\x01".as_slice(), b"\0", b"5\n", b"\xef\xbb\xbf{}\n", &long] {
        let mut client = server.connect().await;
        client.send(noise).await;
        let answers = json!(client.rest().await);
        let expected =
            json!([{"id": null, "error": {"code": -32700, "data": {"message": "~a connection starts with"}}}]);
        assert!(matches(&answers, &expected), "{noise:?}: {answers}");
    }
    server.check_alive().await;
}

#[tokio::test]
async fn a_client_may_say_nothing_and_go() {
    let server = Server::start(Limits::default());
    let client = server.connect().await;
    server.until_open(1).await;
    drop(client);
    server.until_open(0).await;
    assert_eq!(server.answers(b"").await, [] as [Value; 0]);
}

#[tokio::test]
async fn http_posts_follow_the_same_rules() {
    let server = Server::start(Limits::default());
    let call =
        |method: &str, params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    for (body, expected) in [
        (call("daemon.ping", "{}"), json!({"id": 1, "result": "pong"})),
        (call("models.get", r#"{"model":"a"}"#), json!({"id": 1, "result": {"got": "a"}})),
        (
            call("models.get", r#"{"modle":"a"}"#),
            json!({"error": {"code": -32602, "data": {"kind": "invalid_params"}}}),
        ),
        (call("daemon.ping", r#"{"a":1}"#), json!({"error": {"code": -32602}})),
        (call("daemon.pong", "{}"), json!({"error": {"code": -32601, "data": {"message": "~daemon.ping"}}})),
        (call("generate.text", r#"{"prompt":"panic"}"#), json!({"id": 1, "error": {"code": -32603}})),
        (
            call("generate.stream", r#"{"prompt":"a"}"#),
            json!({"error": {"code": -32600, "data": {"message": "~WebSocket"}}}),
        ),
        (format!("[{}]", call("models.get", r#"{"model":"a"}"#)), json!([{"id": 1, "result": {"got": "a"}}])),
        ("{".to_owned(), json!({"id": null, "error": {"code": -32700}})),
        (
            call("models.get", &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
            json!({"error": {"code": -32602}}),
        ),
    ] {
        let answer = posted(&server, &body).await;
        assert!(matches(&answer, &expected), "{body:.200}\nanswered {answer}\nexpected {expected}");
    }
}

#[tokio::test]
async fn http_notifications_are_executed() {
    let server = Server::start(Limits::default());
    posted(&server, r#"{"jsonrpc":"2.0","method":"daemon.ping"}"#).await;
    posted(&server, r#"[{"jsonrpc":"2.0","method":"daemon.ping"}]"#).await;
    assert_eq!(server.seen.pings.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_http_client_that_goes_away_ends_its_call() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    client.send(&post(r#"{"jsonrpc":"2.0","id":1,"method":"generate.text","params":{"prompt":"wait"}}"#)).await;
    within(server.seen.began.notified()).await;
    drop(client);
    within(server.seen.ended.notified()).await;
    server.until_open(0).await;
}

#[tokio::test]
async fn an_http_body_over_the_limit_is_refused() {
    let server = Server::start(Limits { message_bytes: 1000, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&post(&"x".repeat(1001))).await;
    let response = client.bytes().await;
    assert!(response.starts_with("HTTP/1.1 413") && response.contains("-32007"), "{response}");
}

/// A client that has become a WebSocket.
async fn upgraded(server: &Server) -> Client {
    let mut client = server.connect().await;
    let upgrade = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(upgrade.as_bytes()).await;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        within(client.0.read_line(&mut head)).await.unwrap();
    }
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    client
}

/// One text frame with an all-zero mask.
async fn send_frame(client: &mut Client, text: &[u8]) {
    let text = text.trim_ascii_end();
    let length = u8::try_from(text.len()).unwrap();
    let head: &[u8] = if length < 126 { &[0x81, 0x80 | length] } else { &[0x81, 0xfe, 0, length] };
    client.send(&[head, &[0; 4], text].concat()).await;
}

/// One short frame's payload; `None` for a frame that closes, and at the end.
async fn frame(client: &mut Client) -> Option<Value> {
    let mut head = [0; 2];
    within(client.0.read_exact(&mut head)).await.ok()?;
    let mut length = usize::from(head[1]);
    if length == 126 {
        length = usize::from(within(client.0.read_u16()).await.unwrap());
    }
    let mut payload = vec![0; length];
    within(client.0.read_exact(&mut payload)).await.unwrap();
    (head[0] == 0x81).then(|| serde_json::from_slice(&payload).unwrap())
}

#[tokio::test]
async fn a_websocket_calls_and_subscribes() {
    let server = Server::start(Limits::default());
    let mut client = upgraded(&server).await;
    send_frame(&mut client, &request(1, "models.get", &json!({"model": "a"}))).await;
    assert_eq!(frame(&mut client).await.unwrap()["result"]["got"], "a");
    send_frame(&mut client, &request(2, "generate.stream", &json!({"promt": "a"}))).await;
    assert_eq!(frame(&mut client).await.unwrap()["error"]["data"]["kind"], "invalid_params");
    send_frame(&mut client, &request(3, "generate.stream", &json!({"prompt": "a"}))).await;
    assert_eq!(frame(&mut client).await.unwrap()["id"], 3);
    for event in ["event 0", "event 1", "event 2"] {
        assert_eq!(frame(&mut client).await.unwrap()["params"]["result"], event);
    }
    assert_eq!(server.connections.open(), 1);
    drop(client);
    server.until_open(0).await;
}

#[tokio::test]
async fn a_websockets_call_ends_with_it() {
    let server = Server::start(Limits::default());
    let mut client = upgraded(&server).await;
    send_frame(&mut client, &request(1, "generate.text", &json!({"prompt": "wait"}))).await;
    within(server.seen.began.notified()).await;
    drop(client);
    within(server.seen.ended.notified()).await;
}

#[tokio::test]
async fn a_websockets_call_is_answered_in_shutdown_and_then_it_is_closed() {
    let server = Server::start(Limits::default());
    let mut client = upgraded(&server).await;
    send_frame(&mut client, &request(1, "generate.text", &json!({"prompt": "wait"}))).await;
    within(server.seen.began.notified()).await;
    server.shutdown.cancel();
    server.seen.go_on.notify_one();
    assert_eq!(frame(&mut client).await.unwrap()["result"], "waited");
    assert_eq!(frame(&mut client).await, None);
    within(server.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_websocket_that_does_not_end_in_shutdown_is_cut() {
    let server =
        Server::start(Limits { drain: tokio::sync::watch::channel(Duration::from_millis(50)).1, ..Limits::default() });
    let mut client = upgraded(&server).await;
    send_frame(&mut client, &request(1, "generate.text", &json!({"prompt": "wait"}))).await;
    within(server.seen.began.notified()).await;
    server.shutdown.cancel();
    within(server.served).await.unwrap().unwrap();
    within(server.seen.ended.notified()).await;
    assert_eq!(frame(&mut client).await, None);
}

#[tokio::test]
async fn a_websocket_that_is_never_read_loses_its_streams_in_time() {
    let server = Server::start(Limits { write_timeout: Duration::from_millis(50), ..Limits::default() });
    let mut client = upgraded(&server).await;
    send_frame(&mut client, &request(1, "generate.stream", &json!({"prompt": "flood"}))).await;
    within(server.seen.stream_ended.notified()).await;
    server.check_alive().await;
}

#[tokio::test]
async fn an_idle_http_connection_ends_with_the_daemon() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    let keep_alive = String::from_utf8(post(r#"{"jsonrpc":"2.0","id":1,"method":"daemon.ping"}"#)).unwrap();
    client.send(keep_alive.replace("Connection: close\r\n", "").as_bytes()).await;
    let mut answer = String::new();
    while !answer.ends_with('}') {
        answer.push(char::from(within(client.0.read_u8()).await.unwrap()));
    }
    assert_eq!(server.connections.open(), 1);
    server.shutdown.cancel();
    within(server.served).await.unwrap().unwrap();
    assert_eq!(client.bytes().await, "");
}

#[tokio::test]
async fn what_is_posted_to_paths_of_its_own_reaches_who_answers_there() {
    let server = Server::start(Limits::default());
    let long = "x".repeat(101);
    for (head, body, status, expected) in [
        ("POST /echo/a%20b", "words", "202", r#"{"name":"a%20b","bearer":"tok","type":"text/plain","body":"words"}"#),
        ("POST /echo/a", &long, "202", r#""body":null"#),
        ("GET /echo/a", "", "405", "only POST"),
    ] {
        let mut client = server.connect().await;
        let headers =
            "Host: a\r\nConnection: close\r\nAuthorization: bearer tok\r\nContent-Type: Text/Plain; charset=utf-8";
        let length = body.len();
        client.send(format!("{head} HTTP/1.1\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes()).await;
        let answer = client.bytes().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(expected), "{head}: {answer}");
    }
    let mut client = server.connect().await;
    client.send(b"POST /echo/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    let answer = client.bytes().await.to_ascii_lowercase();
    assert!(answer.contains("www-authenticate: bearer") && answer.contains("retry-after: 7"), "{answer}");
    server.check_alive().await;
}
