//! A client's socket that wakes the daemon when something comes, and for room only while somebody waits for room.
//!
//! tokio's own stream listens for both all the time: each time that a client takes what it was sent, the daemon wakes only to
//! hear that there is room. In a stream of tokens that was every second wake.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Sleep, sleep};

/// Between attempts to write where nobody tells of room.
const GUESS: Duration = Duration::from_millis(50);

/// The socket.
#[derive(Debug)]
pub(super) struct Quiet(AsyncFd<Arc<StdStream>>);

/// Reads from it.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a AsyncFd<Arc<StdStream>>);

/// Writes to it.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    stream: &'a StdStream,
    /// There while a write waits.
    room: Option<Room>,
}

/// How a write that waits learns of room.
#[derive(Debug)]
enum Room {
    /// By a second descriptor of the socket.
    Told(AsyncFd<OwnedFd>),
    /// By trying again: no descriptor is left.
    Guessed(Pin<Box<Sleep>>),
}

impl Quiet {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let stream = Arc::new(stream.into_std()?);
        // SAFETY: a stream owns one descriptor, which stays open until the `AsyncFd` that holds the stream is dropped.
        Ok(Self(unsafe { AsyncFd::register_with_interest(stream, Interest::READABLE) }?))
    }

    pub(super) fn split(&self) -> (Reader<'_>, Writer<'_>) {
        (Reader(&self.0), Writer { stream: self.0.get_ref(), room: None })
    }

    /// For those who write past the connection's task.
    pub(super) fn shared(&self) -> Arc<StdStream> {
        Arc::clone(self.0.get_ref())
    }

    /// As it was; fails as long as somebody shares it.
    pub(super) fn into_stream(self) -> io::Result<UnixStream> {
        let stream = Arc::into_inner(self.0.into_inner());
        UnixStream::from_std(stream.ok_or_else(|| io::Error::other("the socket is still shared"))?)
    }
}

impl AsFd for Reader<'_> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl AsyncRead for Reader<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            // SAFETY: nothing is made uninitialized; the buffer is only written to.
            let space = unsafe { buf.unfilled_mut() };
            let read = guard.try_io(|stream| Ok(rustix::io::read(stream, &mut *space).map(|(read, _)| read.len())?));
            match read {
                Ok(Ok(count)) => {
                    // SAFETY: the system wrote so many bytes at the beginning of the space.
                    unsafe { buf.assume_init(count) };
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl Room {
    fn of(stream: &StdStream) -> Self {
        let told = stream.as_fd().try_clone_to_owned().ok().and_then(|fd| {
            // SAFETY: an `OwnedFd` names one descriptor, which stays open until the `AsyncFd` that owns it is dropped.
            unsafe { AsyncFd::register_with_interest(fd, Interest::WRITABLE) }.ok()
        });
        told.map_or_else(|| Self::Guessed(Box::pin(sleep(GUESS))), Self::Told)
    }

    /// Ready when another attempt may do better.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Told(fd) => ready!(fd.poll_write_ready(cx))?.clear_ready(),
            Self::Guessed(time) => {
                ready!(time.as_mut().poll(cx));
                *time = Box::pin(sleep(GUESS));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Writer<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(room) = &mut self.room {
                ready!(room.poll(cx))?;
            }
            let mut stream = self.stream;
            match stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.room.get_or_insert_with(|| Room::of(stream));
                }
                written => {
                    self.room = None;
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
#[path = "quiet_tests.rs"]
mod tests;
