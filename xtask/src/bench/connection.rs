//! A raw connection to the daemon: a line of JSON-RPC out, lines in.
//!
//! Not `talkiectl`'s library: a ping is to measure the daemon and the socket, not a client's runtime.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::error::{Error, Result};

/// Longest that the daemon may be silent.
const PATIENCE: Duration = Duration::from_mins(10);

/// A connection of the bench's own.
pub struct Connection {
    stream: BufReader<UnixStream>,
    next: u64,
}

/// A model that was imported.
#[derive(Debug, Deserialize)]
pub struct Model {
    /// Its id.
    pub id: String,
    /// Its folder.
    pub path: PathBuf,
}

impl Connection {
    /// Connects.
    pub fn open(daemon: &Daemon) -> Result<Self> {
        let stream = daemon.connect()?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed("limit the wait for"))?;
        Ok(Self { stream: BufReader::new(stream), next: 0 })
    }

    /// Calls a method and reads its answer into a type.
    pub fn call<T: DeserializeOwned>(&mut self, method: &str, params: &Value) -> Result<T> {
        self.next += 1;
        let id = self.next;
        let line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send(&format!("{line}\n"))?;
        let answer = loop {
            let line = self.line()?;
            if line["id"] == id {
                break line;
            }
        };
        match answer.get("error") {
            Some(error) => Err(Error::Unexpected(format!("{method} answered {error}"))),
            None => parse(answer["result"].clone()),
        }
    }

    /// The next event of the one stream that is open.
    pub fn event<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = self.line()?;
        parse(line["params"]["result"].take())
    }

    /// Makes a GGUF file into a model.
    pub fn import(&mut self, file: &Path) -> Result<Model> {
        self.call("models.import", &json!({ "path": file }))
    }

    /// The same, under an id of one's own.
    pub fn import_as(&mut self, file: &Path, id: &str) -> Result<Model> {
        self.call("models.import", &json!({ "path": file, "model": id }))
    }

    /// The daemon's version.
    pub fn version(&mut self) -> Result<String> {
        #[derive(Deserialize)]
        struct Pong {
            version: String,
        }
        Ok(self.call::<Pong>("daemon.ping", &json!({}))?.version)
    }

    /// Sends `request` as it is and returns the time until a line has come back.
    pub fn round_trip(&mut self, request: &str, answer: &mut String) -> Result<Duration> {
        answer.clear();
        let started = Instant::now();
        self.send(request)?;
        self.stream.read_line(answer).map_err(failed("read from"))?;
        Ok(started.elapsed())
    }

    fn send(&mut self, line: &str) -> Result<()> {
        self.stream.get_mut().write_all(line.as_bytes()).map_err(failed("write to"))
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).map_err(failed("read from"))? {
            0 => Err(Error::Unexpected("talkied closed the connection".into())),
            _ => serde_json::from_str(&line)
                .map_err(|error| Error::Unexpected(format!("talkied sent no JSON ({error}): {line}"))),
        }
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T> {
    let text = value.to_string();
    serde_json::from_value(value)
        .map_err(|error| Error::Unexpected(format!("talkied sent something unknown ({error}): {text}")))
}

fn failed(action: &str) -> impl FnOnce(std::io::Error) -> Error {
    let action = format!("{action} the daemon's socket");
    move |source| Error::Io { action, source }
}
