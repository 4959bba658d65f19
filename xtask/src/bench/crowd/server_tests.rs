//! Tests of `server.rs`: a client that is turned away, one that is answered, and one that is told of an error.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::thread;

use super::*;

const STREAM: &str = "HTTP/1.1 200 OK\r\n\r\n: keepalive 0/9\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"The\"}}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"completion_tokens\":7}}\n\n\
    data: [DONE]\n\n";

/// Hangs up on so many connections and answers the next one.
fn answered_after(turned_away: u32, answer: &'static str) -> Result<Seen> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("an IPv4 address") };
    let server = thread::spawn(move || {
        for _ in 0..turned_away {
            drop(listener.accept().unwrap());
        }
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            request.read_line(&mut line).unwrap();
            if let Some(bytes) = line.strip_prefix("Content-Length: ") {
                length = bytes.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        request.read_exact(&mut body).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()
    });
    let patience = Duration::from_secs(20);
    let client =
        Completion { address, patience, tokens: 7, prompt: |number| format!("question {number}"), system: None };
    let seen = client.with_system("be short").ask(3);
    let body = server.join().unwrap();
    let said = |place: usize| [&body["messages"][place]["role"], &body["messages"][place]["content"]];
    assert_eq!(
        (said(0), said(1)),
        (["system", "be short"].map(Value::from).each_ref(), ["user", "question 3"].map(Value::from).each_ref())
    );
    assert_eq!(body["max_tokens"], 7);
    seen
}

#[test]
fn who_is_turned_away_knocks_again_and_waits_for_it() {
    let seen = answered_after(3, STREAM).unwrap();
    assert_eq!((seen.knocks, seen.tokens), (3, 7));
    assert!(seen.wait_s() >= 3.0 * KNOCK_AGAIN.as_secs_f64(), "{} s", seen.wait_s());
    assert_eq!(answered_after(0, STREAM).unwrap().knocks, 0);
}

#[test]
fn what_the_server_says_in_place_of_an_answer_is_told() {
    let error = answered_after(0, "HTTP/1.1 404 Not Found\r\n\r\n{\"error\": \"out of memory\"}").unwrap_err();
    assert!(error.to_string().ends_with("{\"error\": \"out of memory\"}"), "{error}");
}

#[test]
fn a_server_that_says_nothing_is_called_silent() {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("an IPv4 address") };
    let patience = Duration::from_millis(20);
    let error =
        Completion { address, patience, tokens: 7, prompt: |_| "question".into(), system: None }.ask(0).unwrap_err();
    assert_eq!(error.to_string(), "failed to ask mlx_lm.server: it is silent");
}
