//! A daemon of a few lines: it answers each line it reads by a script, and reports what it saw.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Id of every subscription the fake gives.
pub const SUBSCRIPTION: u64 = 77;

/// What the fake saw, in order.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Call(Value),
    Closed,
}

/// A program that fails at its start says nothing: without a bound the test would wait for ever.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// One call and the way to answer it.
pub struct Call {
    pub call: Value,
    stream: Arc<UnixStream>,
}

impl Call {
    pub fn method(&self) -> &str {
        self.call["method"].as_str().expect("a method")
    }

    /// Bytes as they are. Whether anybody still reads is the client's business.
    pub fn raw(&mut self, text: &str) {
        let _ = (&*self.stream).write_all(text.as_bytes());
    }

    pub fn result(&mut self, result: &Value) {
        self.raw(&format!("{}\n", json!({"jsonrpc": "2.0", "id": self.call["id"], "result": result})));
    }

    pub fn error(&mut self, code: i32, data: &Value) {
        let error = json!({"code": code, "message": data["message"], "data": data});
        self.raw(&format!("{}\n", json!({"jsonrpc": "2.0", "id": self.call["id"], "error": error})));
    }

    /// Accepts a stream.
    pub fn subscribed(&mut self) {
        self.result(&json!(SUBSCRIPTION));
    }

    pub fn event(&mut self, event: &Value) {
        self.raw_event(&event.to_string());
    }

    pub fn raw_event(&mut self, event: &str) {
        self.raw(&notification(event));
    }

    pub fn text(&mut self, text: &str) {
        self.texts(text, 1);
    }

    /// The same text many times.
    pub fn texts(&mut self, text: &str, count: usize) {
        self.raw(&notification(&json!({"type": "text", "text": text}).to_string()).repeat(count));
    }

    pub fn finished(&mut self, reason: &str) {
        self.event(&finished(reason));
    }

    pub fn hang_up(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// A pull of `org/x` as the wire has it.
pub fn pull(state: &str, more: &Value) -> Value {
    let mut pull = json!({"model": "org/x", "state": state, "done_bytes": 0, "refetched_bytes": 0});
    pull.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    pull
}

fn notification(event: &str) -> String {
    let params = format!(r#"{{"subscription":{SUBSCRIPTION},"result":{event}}}"#);
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"generate.event\",\"params\":{params}}}\n")
}

pub fn finished(reason: &str) -> Value {
    let timings = json!({
        "queue_ms": 0.0, "load_ms": 1200.0, "prefill_ms": 90.0, "decode_ms": 500.0, "first_token_ms": 1290.0,
        "total_ms": 1800.0, "prefill_tokens_per_s": 100.0, "decode_tokens_per_s": 45.25,
    });
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 12});
    json!({"type": "finished", "finish_reason": reason, "usage": usage, "timings": timings})
}

/// The fake daemon. Its threads end with the test's process.
pub struct Fake {
    pub home: TempDir,
    pub socket: PathBuf,
    seen: Receiver<Seen>,
}

impl Fake {
    /// One that speaks the client's version, and says so without being asked for it by the script.
    pub fn new(answer: impl Fn(&mut Call) + Send + Sync + 'static) -> Self {
        let welcome = json!({"version": env!("CARGO_PKG_VERSION"), "protocol": 1, "oldest_protocol": 1, "pid": 1});
        Self::start(Some(welcome), answer)
    }

    /// One whose script answers the client's first word too.
    pub fn of_another_version(answer: impl Fn(&mut Call) + Send + Sync + 'static) -> Self {
        Self::start(None, answer)
    }

    fn start(welcome: Option<Value>, answer: impl Fn(&mut Call) + Send + Sync + 'static) -> Self {
        let home = TempDir::new().expect("a directory");
        let socket = home.path().join("talkied.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (report, seen) = mpsc::channel();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (report, answer, welcome) = (report.clone(), Arc::clone(&answer), welcome.clone());
                let stream = Arc::new(stream.expect("a connection"));
                std::thread::spawn(move || serve(&stream, welcome.as_ref(), &*answer, &report));
            }
        });
        Self { home, socket, seen }
    }

    /// The next thing it sees.
    pub fn sees(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("the program says something before long")
    }

    /// The next call it sees: method and params.
    pub fn sees_call(&self) -> (String, Value) {
        match self.sees() {
            Seen::Call(call) => (call["method"].as_str().expect("a method").into(), call["params"].clone()),
            Seen::Closed => panic!("the connection was closed"),
        }
    }

    /// The program, told to use this fake, with nothing to read.
    pub fn talkiectl(&self, arguments: &[&str]) -> Command {
        let mut command = talkiectl(&self.home, arguments);
        command.arg("--socket").arg(&self.socket);
        command
    }
}

fn serve(stream: &Arc<UnixStream>, welcome: Option<&Value>, answer: &dyn Fn(&mut Call), report: &Sender<Seen>) {
    for line in BufReader::new(&**stream).lines() {
        let Ok(line) = line else { break };
        let call: Value = serde_json::from_str(&line).expect("the client sends one JSON document per line");
        let mut call = Call { call, stream: Arc::clone(stream) };
        if let Some(welcome) = welcome.filter(|_| call.method() == "daemon.hello") {
            call.result(welcome);
            continue;
        }
        let _ = report.send(Seen::Call(call.call.clone()));
        answer(&mut call);
    }
    let _ = report.send(Seen::Closed);
}

/// The program, with a home of its own and nothing to read.
pub fn talkiectl(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_talkiectl"));
    command
        .args(arguments)
        .env("TALKIE_HOME", home.path())
        .env_remove("TALKIE_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a program that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(mut command: Command) -> Ended {
    ended(command.output().expect("the program runs"))
}

/// Runs with something to read.
pub fn run_with_input(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program runs");
    // It may end without reading.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    ended(child.wait_with_output().expect("the program ends"))
}

fn ended(output: std::process::Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Reads exactly that text, however it is cut on the way.
pub fn expect_text(reader: &mut impl Read, text: &str) {
    let mut read = vec![0; text.len()];
    reader.read_exact(&mut read).expect("the program prints on");
    assert_eq!(String::from_utf8_lossy(&read), text);
}

/// A gate in a script: the script waits until the test opens it.
pub fn gate() -> (Sender<()>, impl Fn() + Send + Sync) {
    let (open, opened) = mpsc::channel();
    let opened = Mutex::new(opened);
    (open, move || {
        // A test that has failed opens no more gates; then the script may run on.
        let _ = opened.lock().map(|opened| opened.recv());
    })
}
