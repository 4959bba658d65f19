//! mlx-lm's own server, and a client that speaks to it as its users do: a chat completion, streamed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Client, Seen};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

const READY_WITHIN: Duration = Duration::from_mins(2);
/// What it decodes at once unless it is told.
const DECODED_AT_ONCE: u32 = 32;
const POLL: Duration = Duration::from_millis(100);
/// Its system holds five connections that it has not taken yet, and turns others away. Those knock again for so long.
const KNOCK_WITHIN: Duration = Duration::from_mins(1);
const KNOCK_AGAIN: Duration = Duration::from_millis(20);

/// What the server is told, and what is expected of it.
pub struct Demand {
    /// At once.
    pub clients: u32,
    /// Longest that it may be silent.
    pub patience: Duration,
    /// A file for what it says.
    pub log: PathBuf,
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddrV4,
    log: PathBuf,
    patience: Duration,
}

impl Server {
    /// Serves the model in `folder`.
    pub fn start(python: &Path, folder: &Path, demand: Demand, interrupt: &Interrupt) -> Result<Self> {
        let Demand { clients, patience, log } = demand;
        let address = free()?;
        let mut command = Command::new(python);
        command.args(["-m", "mlx_lm", "server", "--log-level", "ERROR", "--model"]).arg(folder);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--decode-concurrency", &clients.max(DECODED_AT_ONCE).to_string()]);
        let errors = File::create(&log).map_err(Error::io("create", &log))?;
        command.env("HF_HUB_OFFLINE", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = command.spawn().map_err(crate::command::start_error(&command))?;
        let mut server = Self { child, address, log, patience };
        match server.wait_until_listening(interrupt) {
            Ok(()) => Ok(server),
            Err(error) => {
                server.show_log();
                Err(error)
            }
        }
    }

    fn wait_until_listening(&mut self, interrupt: &Interrupt) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(self.address).is_err() {
            interrupt.check()?;
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Error::Unexpected(format!("mlx_lm.server ended before it answered: {status}")));
            }
            if Instant::now() > deadline {
                return Err(Error::Unexpected("mlx_lm.server does not listen".into()));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Prints what it wrote, but for the requests that went well.
    pub fn show_log(&self) {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().filter(|line| !line.ends_with("\" 200 -")).collect();
        eprintln!("mlx_lm.server wrote:\n{}", lines.join("\n"));
    }

    /// One that asks for so many tokens.
    pub fn client(&self, tokens: u32, prompt: fn(u32) -> String) -> Completion {
        Completion { address: self.address, patience: self.patience, tokens, prompt, system: None }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> Result<SocketAddrV4> {
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let taken = TcpListener::bind(any).and_then(|listener| listener.local_addr());
    let port = taken.map_err(failed("find a port for"))?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// A client of it.
#[derive(Clone)]
pub struct Completion {
    address: SocketAddrV4,
    patience: Duration,
    tokens: u32,
    prompt: fn(u32) -> String,
    system: Option<String>,
}

impl Client for Completion {
    fn ask(&mut self, question: u32) -> Result<Seen> {
        let system = self.system.iter().map(|text| json!({ "role": "system", "content": text }));
        let user = json!({ "role": "user", "content": (self.prompt)(question) });
        let messages: Vec<Value> = system.chain([user]).collect();
        let body = json!({ "messages": messages, "max_tokens": self.tokens, "temperature": 0, "stream": true,
            "stream_options": { "include_usage": true } })
        .to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let asked = Instant::now();
        let mut knocks = 0;
        loop {
            match self.answer_to(&request) {
                Ok(answer) => return Ok(Seen { knocks, ..read(asked, answer)? }),
                Err(error) if turned_away(&error) && asked.elapsed() < KNOCK_WITHIN => knocks += 1,
                Err(source) => return Err(failed("ask")(source)),
            }
            thread::sleep(KNOCK_AGAIN);
        }
    }
}

impl Completion {
    /// Behind this system prompt.
    pub fn with_system(self, prompt: &str) -> Self {
        Self { system: Some(prompt.into()), ..self }
    }

    /// Sends the request over a new connection; of the answer a byte has come.
    fn answer_to(&self, request: &str) -> io::Result<impl BufRead + use<>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = BufReader::new(stream);
        if answer.fill_buf()?.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(answer)
    }
}

/// Whether the connection was refused, or ended before an answer began.
fn turned_away(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | UnexpectedEof)
}

/// Takes server-sent events; whatever else HTTP has between them is left alone.
fn read(asked: Instant, stream: impl BufRead) -> Result<Seen> {
    let (mut first, mut last, mut tokens) = (None, asked, None);
    let mut said = String::new();
    for line in stream.lines() {
        let line = line.map_err(failed("read from"))?;
        let Some(data) = line.strip_prefix("data: ") else {
            said.push_str(&line);
            continue;
        };
        let Ok(event) = serde_json::from_str::<Value>(data) else { break };
        if event["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()) {
            last = Instant::now();
            first.get_or_insert(last);
        }
        tokens = event["usage"]["completion_tokens"].as_u64().or(tokens);
    }
    match (first, tokens) {
        (Some(first), Some(tokens)) => Ok(Seen { asked, first, last, tokens: tokens as u32, knocks: 0 }),
        _ => Err(Error::Unexpected(format!("mlx_lm.server answered {said}"))),
    }
}

fn failed(action: &str) -> impl FnOnce(io::Error) -> Error {
    let action = format!("{action} mlx_lm.server");
    move |source| match source.kind() {
        // A read that has a limit ends in the one or the other.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Unexpected(format!("failed to {action}: it is silent")),
        _ => Error::Io { action, source },
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
