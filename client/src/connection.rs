//! One connection: newline-delimited JSON over the Unix socket, under jsonrpsee's client.
//!
//! It moves lines and tells apart how a connection can end; it knows no method. Called by apps through [`Client`].

use std::io;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use jsonrpsee::core::client::async_client::{Client as RpcClient, ClientBuilder};
use jsonrpsee::core::client::{Error as RpcError, ReceivedMessage, TransportReceiverT, TransportSenderT};
use jsonrpsee::types::{ErrorObjectOwned, Id, Response, ResponsePayload};
use protocol::paths::{MAX_SOCKET_PATH, Paths};
use protocol::rpc::DaemonClient;
use protocol::{ErrorData, Hello, MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Welcome};
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::error::{Error, METHOD_NOT_FOUND};
use crate::start;

/// Events of one subscription that wait to be taken; past that jsonrpsee closes it ([`Error::Lagged`]).
const EVENTS_BUFFERED: usize = 1 << 16;

/// Bytes read from the socket at once.
const READ_BUFFER: usize = 64 * 1024;

/// jsonrpsee always has a limit; loading or importing a model takes as long as it takes.
const NO_TIMEOUT: Duration = Duration::from_hours(24 * 365);

/// A connection to talkied. The traits of [`protocol::rpc`] work on it; closing it cancels its requests.
///
/// Must be made inside a tokio runtime.
#[derive(Debug)]
pub struct Client {
    rpc: RpcClient,
}

impl Client {
    /// Connects to a daemon that runs.
    pub async fn connect(socket: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                Error::NotRunning { socket: socket.to_path_buf() }
            }
            _ => Error::Io { action: "connect to", path: socket.to_path_buf(), source },
        };
        let length = socket.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            let problem = format!("a socket's path has at most {MAX_SOCKET_PATH} bytes, this one {length}");
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, problem)));
        }
        let (reader, writer) = UnixStream::connect(socket).await.map_err(failed)?.into_split();
        let lines = LinesCodec::new_with_max_length(MAX_MESSAGE_BYTES);
        let rpc = ClientBuilder::default()
            .request_timeout(NO_TIMEOUT)
            .max_buffer_capacity_per_subscription(EVENTS_BUFFERED)
            .build_with_tokio(Sender(writer), Receiver(FramedRead::with_capacity(reader, lines, READ_BUFFER)));
        Ok(Self { rpc })
    }

    /// Connects; where nobody listens, starts `program` as the daemon of these places and waits until it does.
    pub async fn connect_or_start(paths: &Paths, program: &Path) -> Result<Self, Error> {
        match Self::connect(&paths.socket).await {
            Err(Error::NotRunning { .. }) => start::start(paths, program, start::PATIENCE).await,
            connected => connected,
        }
    }

    /// Asks which versions of the contract the daemon speaks; an error where that of this crate is not among them, or
    /// where nothing comes for `patience`. `client` is the name and version of the program, for the daemon's log.
    pub async fn greet(&self, client: &str, patience: Duration) -> Result<Welcome, Error> {
        let asked = tokio::time::timeout(patience, self.welcome(client)).await;
        let welcome = asked.map_err(|_| Error::Silent { patience })??;
        if welcome.speaks(PROTOCOL_VERSION) { Ok(welcome) } else { Err(Error::Version { daemon: welcome }) }
    }

    async fn welcome(&self, client: &str) -> Result<Welcome, Error> {
        let hello = Hello { protocol: PROTOCOL_VERSION, client: Some(client.to_owned()) };
        match self.hello(hello).await.map_err(Error::from) {
            // A daemon from before this call speaks one version.
            Err(Error::Rpc { code: METHOD_NOT_FOUND, .. }) => {
                let pong = self.ping().await?;
                let (version, pid) = (pong.version, pong.pid);
                Ok(Welcome { version, protocol: pong.protocol, oldest_protocol: pong.protocol, pid })
            }
            welcome => welcome,
        }
    }

    /// Completes when the connection is gone, with the reason.
    pub async fn closed(&self) -> Error {
        self.rpc.on_disconnect().await.into()
    }
}

/// The answer of a call, or [`Error::Silent`] where none comes for `patience`.
pub async fn answered<T>(patience: Duration, call: impl Future<Output = Result<T, RpcError>>) -> Result<T, Error> {
    tokio::time::timeout(patience, call).await.map_err(|_| Error::Silent { patience })?.map_err(Error::from)
}

impl Deref for Client {
    type Target = RpcClient;

    fn deref(&self) -> &RpcClient {
        &self.rpc
    }
}

/// How the socket itself ends a connection.
#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error("closed")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(String),
    /// An answer to no request: the daemon could not read what was sent.
    #[error("{0}")]
    Refused(ErrorObjectOwned),
}

struct Sender(OwnedWriteHalf);

impl TransportSenderT for Sender {
    type Error = WireError;

    async fn send(&mut self, mut message: String) -> Result<(), WireError> {
        message.push('\n');
        Ok(self.0.write_all(message.as_bytes()).await?)
    }

    async fn close(&mut self) -> Result<(), WireError> {
        Ok(self.0.shutdown().await?)
    }
}

struct Receiver(FramedRead<OwnedReadHalf, LinesCodec>);

impl TransportReceiverT for Receiver {
    type Error = WireError;

    async fn receive(&mut self) -> Result<ReceivedMessage, WireError> {
        match self.0.next().await {
            Some(Ok(line)) => match refusal(&line) {
                Some(error) => Err(WireError::Refused(error)),
                None => Ok(ReceivedMessage::Text(line)),
            },
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                Err(WireError::Malformed(format!("a line is longer than {MAX_MESSAGE_BYTES} bytes")))
            }
            Some(Err(LinesCodecError::Io(source))) if source.kind() == io::ErrorKind::InvalidData => {
                Err(WireError::Malformed("a line is not UTF-8".into()))
            }
            Some(Err(LinesCodecError::Io(source))) => Err(WireError::Io(source)),
            None => Err(WireError::Closed),
        }
    }
}

/// The error of an answer whose id is null. jsonrpsee would only say that no request has that id.
fn refusal(line: &str) -> Option<ErrorObjectOwned> {
    if !line.contains("\"id\":null") {
        return None;
    }
    let response: Response<'_, &RawValue> = serde_json::from_str(line).ok()?;
    match (response.id, response.payload) {
        (Id::Null, ResponsePayload::Error(error)) => Some(error.into_owned()),
        _ => None,
    }
}

impl From<RpcError> for Error {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Call(error) => error.into(),
            RpcError::RestartNeeded(reason) => of_disconnect(&reason),
            RpcError::Transport(_) => of_disconnect(&error),
            RpcError::ParseError(error) => Self::Protocol(error.to_string()),
            // jsonrpsee forgets the reason when writing failed before reading did.
            RpcError::Custom(_) | RpcError::ServiceDisconnect | RpcError::RequestTimeout => Self::Lost,
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<ErrorObjectOwned> for Error {
    fn from(error: ErrorObjectOwned) -> Self {
        let data = error.data().and_then(|data| serde_json::from_str::<ErrorData>(data.get()).ok());
        Self::rpc(error.code(), error.message(), data)
    }
}

fn of_disconnect(reason: &RpcError) -> Error {
    match reason {
        RpcError::Transport(error) => match error.downcast_ref::<WireError>() {
            Some(WireError::Malformed(problem)) => Error::Protocol(problem.clone()),
            Some(WireError::Refused(error)) => error.clone().into(),
            Some(WireError::Closed | WireError::Io(_)) | None => Error::Lost,
        },
        RpcError::Custom(problem) => Error::Protocol(problem.clone()),
        other => Error::Protocol(other.to_string()),
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
