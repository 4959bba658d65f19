use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};

use super::super::testing::{Client, PING, Server, matches, request, within};
use super::*;

#[test]
fn only_the_own_user_and_root_may_connect() {
    assert!(may_connect(501, 501));
    assert!(may_connect(0, 501));
    assert!(!may_connect(502, 501));
    assert!(!may_connect(501, 0));
}

#[tokio::test]
async fn two_connections_are_served_at_once() {
    let server = Server::start(Limits::default());
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    first.send(&request(1, "generate.text", &json!({"prompt": "wait"}))).await;
    within(server.seen.began.notified()).await;
    second.send(PING).await;
    assert_eq!(second.answer().await["result"], "pong");
    assert_eq!(server.connections.open(), 2);
    server.seen.go_on.notify_one();
    assert_eq!(first.answer().await["result"], "waited");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_closed() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() });
    let held = [server.connect().await, server.connect().await];
    server.until_open(2).await;
    for sent in [b"".as_slice(), PING] {
        let mut third = server.connect().await;
        third.send(sent).await;
        let answer = third.answer().await;
        let data = json!({"kind": "busy", "message": "~2 connections are open", "retry_after_ms": 1000});
        assert!(matches(&answer, &json!({"id": null, "error": {"code": 3001, "data": data}})), "{answer}");
    }
    drop(held);
    server.until_open(0).await;
    server.check_alive().await;
}

/// Ten thousand, or as many as this process may have open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_at_once_are_each_answered() {
    let server = Server::start(Limits { connections: 500, ..Limits::default() });
    let count = 10_000.min(descriptors::raise().saturating_sub(1000));
    let mut clients = Vec::new();
    let (mut answered, mut turned_away) = (0, 0);
    for _ in 0..count {
        clients.push(server.connect().await);
    }
    for client in &mut clients {
        client.send(PING).await;
        match client.answer().await {
            answer if answer["result"] == "pong" => answered += 1,
            answer if answer["error"]["code"] == 3001 => turned_away += 1,
            answer => panic!("{answer}"),
        }
    }
    assert_eq!((answered, turned_away), (500, count - 500));
    drop(clients);
    server.until_open(0).await;
    server.check_alive().await;
}

#[tokio::test]
async fn ten_thousand_clients_one_after_another_leave_nothing_behind() {
    let server = Server::start(Limits { connections: 50, ..Limits::default() });
    for _ in 0..10_000 {
        drop(server.connect().await);
    }
    server.until_open(0).await;
    server.check_alive().await;
}

/// Runs in a process of its own, for every other test would run out of descriptors too.
#[test]
fn a_lack_of_descriptors_is_waited_out() {
    const IS_CHILD: &str = "TALKIED_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(IS_CHILD).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(lack_descriptors());
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args([&name, "--exact"]).env(IS_CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

async fn lack_descriptors() {
    let few = Rlimit { current: Some(200), maximum: Some(200) };
    setrlimit(Resource::Nofile, few).unwrap();
    let server = Server::start(Limits::default());
    server.check_alive().await;
    server.until_open(0).await;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    socket.connect(&SockAddr::unix(server.path()).unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let stream = std::os::unix::net::UnixStream::from(OwnedFd::from(socket));
    let mut client = Client(tokio::io::BufReader::new(UnixStream::from_std(stream).unwrap()));
    client.send(PING).await;
    // What is tested is that the server is still there after some attempts.
    sleep(3 * PAUSE).await;
    assert_eq!((server.connections.open(), server.served.is_finished()), (0, false));
    drop(taken);
    assert_eq!(client.answer().await["result"], "pong");
}

#[tokio::test]
async fn shutdown_lets_running_calls_and_streams_end_and_takes_no_more() {
    let server = Server::start(Limits::default());
    let (mut waiting, mut idle, mut silent) = (server.connect().await, server.connect().await, server.connect().await);
    waiting.send(&request(1, "generate.text", &json!({"prompt": "wait"}))).await;
    idle.send(PING).await;
    idle.answer().await;
    within(server.seen.began.notified()).await;
    server.shutdown.cancel();
    assert_eq!(idle.next().await, None);
    assert_eq!(silent.next().await, None);
    waiting.send(PING).await;
    server.until_open(1).await;
    UnixStream::connect(server.path()).await.unwrap_err();
    server.seen.go_on.notify_one();
    assert!(matches(&json!(waiting.rest().await), &json!([{"id": 1, "result": "waited"}])));
    within(server.served).await.unwrap().unwrap();
    assert_eq!((server.connections.open(), server.seen.pings.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end() {
    let server = Server::start(Limits {
        drain: tokio::sync::watch::channel(Duration::from_millis(50)).1,
        outbox: 8,
        ..Limits::default()
    });
    let (mut call, mut stream) = (server.connect().await, server.connect().await);
    call.send(&request(1, "generate.text", &json!({"prompt": "wait"}))).await;
    stream.send(&request(2, "generate.stream", &json!({"prompt": "flood"}))).await;
    within(server.seen.began.notified()).await;
    stream.answer().await;
    server.shutdown.cancel();
    within(server.served).await.unwrap().unwrap();
    within(server.seen.ended.notified()).await;
    within(server.seen.stream_ended.notified()).await;
    assert_eq!(call.next().await, None);
}
