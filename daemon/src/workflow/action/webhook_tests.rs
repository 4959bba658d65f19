use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread;

use super::*;

const SECRET: &str = "sk-very-hidden-0123456789";

/// What a server answers to each request in turn, as it goes over the wire; the last again and again.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            for (place, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let answer = &answers[place.min(answers.len() - 1)];
                // A client may go away at any time.
                let _ = serve(&stream, answer, &all);
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn serve(mut stream: &TcpStream, answer: &str, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (mut reader, mut head, mut length) = (BufReader::new(stream), String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let before = head.len();
        reader.read_line(&mut head)?;
        if let Some(value) = head[before..].to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.lock().expect("no panic").push(head + &String::from_utf8_lossy(&body));
    stream.write_all(answer.as_bytes())
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

fn request(url: &str) -> Request {
    Request {
        url: url.into(),
        method: "POST".into(),
        headers: BTreeMap::new(),
        body: Some("{\"a\":1}".into()),
        bearer: None,
        api_key: None,
        hmac: None,
        idempotency_key: None,
        reach: Reach::Anywhere,
        timeout: Duration::from_mins(1),
    }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

async fn send(request: Request) -> Result<Output, Failure> {
    Sender::default().send(request, now()).await
}

/// With every secret that there can be.
fn secretive(url: &str) -> Request {
    let key = || SecretString::from(SECRET);
    Request {
        bearer: Some(key()),
        api_key: Some(ApiKey { header: "X-Key".into(), key: SecretString::from(format!("{SECRET}-key")) }),
        hmac: Some(Hmac { header: "X-Signature".into(), key: key() }),
        ..request(url)
    }
}

#[track_caller]
fn refused(result: Result<Output, Failure>, words: &[&str]) {
    match result {
        Err(Failure::Final(told)) => {
            assert!(words.iter().all(|words| told.contains(words)) && !told.contains(SECRET), "{told}");
        }
        other => panic!("it is no final failure: {other:?}"),
    }
}

#[track_caller]
fn may_pass(result: Result<Output, Failure>, words: &[&str]) -> Option<Duration> {
    match result {
        Err(Failure::MayPass { words: told, after }) => {
            assert!(words.iter().all(|words| told.contains(words)) && !told.contains(SECRET), "{told}");
            after
        }
        other => panic!("it is no failure that may pass: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_has_what_it_is_given() {
    let server = Server::start(vec![answer("201 Created", "", "took it")]);
    let asked = Request {
        headers: BTreeMap::from([("X-Team".into(), "notes".into())]),
        idempotency_key: Some("run_1/2".into()),
        ..secretive(&format!("{}/some/path?a=b", server.url))
    };
    assert_eq!(send(asked).await, Ok(Output { status: 201, text: "took it".into() }));
    let told = server.asked().remove(0);
    assert!(told.starts_with("POST /some/path?a=b HTTP/1.1\r\n"), "{told}");
    // By Python: hmac.new(KEY, b'1700000000.{"a":1}', "sha256").hexdigest()
    let signature = "x-signature: t=1700000000,v1=2633dc603a124a678714f47b609556863df4ba0d5df45ec575cf8e41dc981a14";
    for header in [
        "authorization: Bearer sk-very-hidden-0123456789",
        "x-key: sk-very-hidden-0123456789-key",
        "x-team: notes",
        "idempotency-key: run_1/2",
        "content-type: application/json",
        signature,
    ] {
        assert!(told.contains(&format!("{header}\r\n")), "{header}: {told}");
    }
    assert!(told.ends_with("\r\n\r\n{\"a\":1}"));
}

#[tokio::test]
async fn text_that_is_no_json_is_sent_as_text() {
    let server = Server::start(vec![answer("200 OK", "", "")]);
    send(Request { body: Some("some words".into()), ..request(&server.url) }).await.expect("it is taken");
    send(Request { body: None, method: "get".into(), ..request(&server.url) }).await.expect("it is taken");
    let asked = server.asked();
    assert!(asked[0].contains("content-type: text/plain; charset=utf-8\r\n"), "{}", asked[0]);
    assert!(asked[1].starts_with("GET / ") && !asked[1].contains("content-type"), "{}", asked[1]);
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_is_final() {
    let server = Server::start(
        ["500 Oh", "502 Oh", "503 Oh", "408 Oh", "429 Oh", "400 Oh", "401 Oh", "404 Oh", "422 Oh"]
            .map(|status| answer(status, "", &format!("{{\"error\": \"no {SECRET} here\"}}")))
            .to_vec(),
    );
    for status in ["500", "502", "503", "408", "429"] {
        assert_eq!(may_pass(send(secretive(&server.url)).await, &[status, "no … here"]), None);
    }
    for status in ["400", "401", "404", "422"] {
        refused(send(secretive(&server.url)).await, &[status, "no … here"]);
    }
}

#[tokio::test]
async fn a_server_that_fails_for_an_hour_fails_each_time_and_says_when_it_is_back() {
    let after = |text: &str| answer("503 Oh", &format!("retry-after: {text}\r\n"), "");
    let server = Server::start(vec![
        after("120"),
        after("Tue, 14 Nov 2023 22:14:20 GMT"),
        after("Tue, 14 Nov 1995 22:14:20 GMT"),
        after("999999999"),
        after("soon"),
        answer("503 Oh", "", ""),
    ]);
    let sender = Sender::default();
    let mut waits = Vec::new();
    for _ in 0..60 {
        waits.push(may_pass(sender.send(request(&server.url), now()).await, &["503", &server.url]));
    }
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(waits[..6], [seconds(120), seconds(60), seconds(0), seconds(86_400), None, None]);
    assert_eq!(server.asked().len(), 60, "each is one request");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let other = Server::start(vec![answer("200 OK", "", "")]);
    let place = format!("location: {}/{SECRET}\r\n", other.url);
    let server = Server::start(vec![answer("302 Found", &place, ""), answer("307 On", "location: /b\r\n", "")]);
    refused(send(secretive(&server.url)).await, &["302", "the host 127.0.0.1", "not followed"]);
    refused(send(secretive(&server.url)).await, &["307", "another path"]);
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn answers_are_bounded_texts_without_secrets() {
    let whole = "x".repeat(super::super::LONGEST_OUTPUT);
    let server = Server::start(vec![
        answer("200 OK", "", &whole),
        answer("200 OK", "", &format!("{whole}x")),
        answer("200 OK", "", &format!("you are {SECRET}, and asked for four of them")),
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".into(),
    ]);
    assert_eq!(send(request(&server.url)).await.expect("it is taken").text.len(), whole.len());
    refused(send(request(&server.url)).await, &["more than 1048576 bytes"]);
    let url = format!("{}/?count=four&b", server.url);
    let told = send(secretive(&url)).await.expect("it is taken").text;
    assert_eq!(told, "you are …, and asked for … of them");
    may_pass(send(request(&server.url)).await, &["broke off"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_or_silent_may_be_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/{SECRET}?key=hidden", listener.local_addr().expect("an address"));
    let silent = Request { timeout: Duration::from_millis(200), ..request(&url) };
    may_pass(send(silent).await, &["has not answered within 200ms"]);
    drop(listener);
    let Err(Failure::MayPass { words, .. }) = send(secretive(&url)).await else { panic!("nobody is there") };
    assert!(words.contains("cannot be reached") && !words.contains("hidden"), "{words}");
}

#[tokio::test]
async fn dropping_it_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, closed) = mpsc::channel();
    let (here, mut is_here) = tokio::sync::mpsc::channel(1);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        here.blocking_send(()).expect("it is waited for");
        let mut all = Vec::new();
        // Returns when the client has closed, with whatever it sent before.
        let _ = stream.read_to_end(&mut all);
        sender.send(()).expect("it is waited for");
    });
    tokio::select! {
        _ = send(request(&url)) => panic!("nobody answers"),
        _ = is_here.recv() => {}
    }
    let closed = tokio::task::spawn_blocking(move || closed.recv_timeout(Duration::from_mins(1)));
    closed.await.expect("no panic").expect("it is closed");
}

#[tokio::test]
async fn what_cannot_be_asked_is_not() {
    let headers = |name: &str, value: &str| Request {
        headers: BTreeMap::from([(name.into(), value.into())]),
        ..secretive("https://example.com/hook")
    };
    for (asked, words) in [
        (request("example.com/hook"), "`url` is no address"),
        (request("ftp://example.com"), "begins with ftp:"),
        (request("file:///etc/passwd"), "begins with file:"),
        (request("https://me:password@example.com"), "a name or a password"),
        (Request { method: "TRACE".into(), ..request("https://example.com") }, "\"TRACE\""),
        (headers("Authorization", "Basic x"), "set twice"),
        (headers("x-key", "x"), "set twice"),
        (headers("Host", "other"), "made by itself"),
        (headers("a b", "x"), "no name of a header"),
        (headers("X-A", "a\nb"), "what no header can hold"),
    ] {
        refused(send(asked).await, &[words]);
    }
}

#[tokio::test]
async fn secrets_go_to_no_other_machine_without_encryption() {
    refused(send(secretive("http://example.com/hook")).await, &["http://example.com", "https"]);
    let own = Request {
        headers: BTreeMap::from([("authorization".into(), format!("Basic {SECRET}"))]),
        ..request("http://192.0.2.1/hook")
    };
    refused(send(own).await, &["use https"]);
    assert!(request::make(&secretive("https://example.com/hook"), now()).is_ok());
    assert!(request::make(&secretive("http://127.0.0.1:8000/hook"), now()).is_ok());
}

#[tokio::test]
async fn local_only_holds_for_webhooks() {
    let server = Server::start(vec![answer("200 OK", "", "here")]);
    let here = |url: &str| Request { reach: Reach::ThisMachine, ..request(url) };
    assert_eq!(send(here(&server.url)).await.expect("it is on this machine").text, "here");
    for url in ["https://example.com/a?b=c", "http://192.168.1.2", "https://localhost.example.com"] {
        refused(send(here(url)).await, &["local_only is set"]);
    }
}

#[test]
fn nothing_shows_a_secret() {
    let asked = secretive("https://hooks.example.com/path-hidden?key=query-hidden");
    assert!(!format!("{asked:?}").contains(SECRET));
    let made = request::make(&asked, now()).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(made.place, "https://hooks.example.com");
    let shown = format!("{:?} {:?}", made.headers, made.hidden);
    assert!(!shown.contains(SECRET) && !shown.contains("query-hidden"), "{shown}");
}
