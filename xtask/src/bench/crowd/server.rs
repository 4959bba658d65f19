//! mlx-lm's own server, and a client that speaks to it as its users do: a chat completion, streamed.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Client, Seen};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

const READY_WITHIN: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);
/// Longest that it may be silent.
const PATIENCE: Duration = Duration::from_mins(10);

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddrV4,
}

impl Server {
    /// Serves the model in `folder`, which the first request loads.
    pub fn start(python: &Path, folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let address = free()?;
        let mut command = Command::new(python);
        command.args(["-m", "mlx_lm", "server", "--log-level", "ERROR", "--model"]).arg(folder);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.env("HF_HUB_OFFLINE", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(crate::command::start_error(&command))?;
        let mut server = Self { child, address };
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(address).is_err() {
            interrupt.check()?;
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(Error::Unexpected(format!("mlx_lm.server ended before it answered: {status}")));
            }
            if Instant::now() > deadline {
                return Err(Error::Unexpected("mlx_lm.server does not listen".into()));
            }
            thread::sleep(POLL);
        }
        Ok(server)
    }

    /// One that asks for so many tokens.
    pub fn client(&self, tokens: u32, prompt: fn(u32) -> String) -> Completion {
        Completion { address: self.address, tokens, prompt }
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
pub struct Completion {
    address: SocketAddrV4,
    tokens: u32,
    prompt: fn(u32) -> String,
}

impl Client for Completion {
    fn ask(&mut self, question: u32) -> Result<Seen> {
        let message = json!({ "role": "user", "content": (self.prompt)(question) });
        let body = json!({ "messages": [message], "max_tokens": self.tokens, "temperature": 0, "stream": true,
            "stream_options": { "include_usage": true } })
        .to_string();
        let asked = Instant::now();
        let mut stream = TcpStream::connect(self.address).map_err(failed("connect to"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed("limit the wait for"))?;
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .map_err(failed("write to"))?;
        read(asked, BufReader::new(stream))
    }
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
        (Some(first), Some(tokens)) => Ok(Seen { asked, first, last, tokens: tokens as u32 }),
        _ => Err(Error::Unexpected(format!("mlx_lm.server answered {said}"))),
    }
}

fn failed(action: &str) -> impl FnOnce(std::io::Error) -> Error {
    let action = format!("{action} mlx_lm.server");
    move |source| Error::Io { action, source }
}
