//! One connection from its first byte to its close: which framing it speaks, and how it is left.
//!
//! `accept` runs [`serve`] in a task of its own for each connection; dropping that task closes the connection.

use std::io::{self, Write};
use std::time::Duration;

use jsonrpsee::types::{ErrorObjectOwned, Id, Response, ResponsePayload};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::accept::Shared;
use super::lines::Lines;
use super::{http, ndjson, refusal};

/// How long a client that was refused may go on sending before its connection is cut.
pub(super) const LINGER: Duration = Duration::from_millis(500);

/// What a connection speaks, as its first byte tells.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    /// One JSON-RPC message a line.
    Lines,
    /// HTTP, which may become a WebSocket.
    Http,
    Unknown,
}

impl Framing {
    fn of(first: u8) -> Self {
        match first {
            b'{' | b'[' => Self::Lines,
            _ if first.is_ascii_whitespace() => Self::Lines,
            _ if first.is_ascii_alphabetic() => Self::Http,
            _ => Self::Unknown,
        }
    }
}

/// Serves one connection until its end or shutdown.
pub(super) async fn serve(mut stream: UnixStream, id: u32, shared: &Shared) {
    let mut lines = Lines::new(shared.limits.message_bytes);
    let first = tokio::select! {
        first = first_byte(&stream, &mut lines) => first,
        () = shared.shutdown.cancelled() => return,
    };
    match first.map(Framing::of) {
        None => {}
        Some(Framing::Lines) => ndjson::serve(stream, lines, id, shared).await,
        Some(Framing::Http) => http::serve(stream, lines.into_received().freeze(), id, shared).await,
        Some(Framing::Unknown) => {
            let why = "a connection starts with `{` or `[`, one JSON-RPC message a line, or with an HTTP request";
            say(&stream, &refusal::parse_error(why));
            leave(&mut stream, LINGER).await;
        }
    }
}

/// Reads until something is there, without taking memory before. `None` when nothing ever comes.
async fn first_byte(stream: &UnixStream, lines: &mut Lines) -> Option<u8> {
    loop {
        stream.readable().await.ok()?;
        match stream.try_read_buf(lines.space()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => lines.clear(),
            Err(_) => return None,
            Ok(_) => return lines.received().first().copied(),
        }
    }
}

/// Writes one error line to a client that has been sent nothing yet: its socket has room.
pub(super) fn say(stream: &UnixStream, error: &ErrorObjectOwned) {
    let response = Response::new(ResponsePayload::<()>::error_borrowed(error.borrow()), Id::Null);
    let mut line = serde_json::to_vec(&response).unwrap_or_default();
    line.push(b'\n');
    // Past tokio, which would first have to hear from the system that there is room.
    if let Err(error) = (&*SockRef::from(stream)).write(&line) {
        tracing::debug!(%error, "a refused client did not wait for the reason");
    }
}

/// Lets the client read what was written last: closing while it sends, or before what it sent is read, makes some
/// systems throw that away.
pub(super) async fn leave(stream: &mut UnixStream, linger: Duration) {
    let mut rest = vec![0; 64 << 10];
    let drain = async {
        stream.shutdown().await?;
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Neither a client that is gone nor one that sends for ever is waited for.
    let _ = timeout(linger, drain).await;
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
