//! What a connection has to send, and the way past its task.
//!
//! Answers wait here until the connection's task has written them. An event of a stream that finds nothing waiting is written
//! by whoever has it, so that nobody is woken for it; what the socket does not take at once is left to the task, as is all
//! that comes behind it.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use jsonrpsee::SubscriptionSink;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

/// Bytes of answers that wait to be written before nothing more is collected.
pub(super) const HIGH_WATER: usize = 256 << 10;

/// Outbox messages taken at once.
const TAKEN_AT_ONCE: usize = 64;

/// Where messages leave a connection; stands in the extensions of each of its requests.
#[derive(Debug, Clone)]
pub struct Outlet(Arc<Mutex<Out>>);

/// Never held while anybody is waited for.
#[derive(Debug)]
struct Out {
    /// Each message with its newline; never longer than [`HIGH_WATER`], one full outbox and one answer.
    bytes: BytesMut,
    /// `None` once nothing may go past the connection's task.
    stream: Option<Arc<StdStream>>,
    /// The connection's task, where it waits for something to write.
    task: Option<Waker>,
}

/// Sends the events of a subscription past the connection's task where that can be.
#[derive(Debug)]
pub struct Events {
    outlet: Outlet,
    /// The message, of which all but the event stays the same.
    line: Vec<u8>,
    head: usize,
}

impl Outlet {
    pub(super) fn new(stream: Arc<StdStream>) -> Self {
        Self(Arc::new(Mutex::new(Out { bytes: BytesMut::new(), stream: Some(stream), task: None })))
    }

    /// For the events that `sink` sends.
    pub fn events(&self, sink: &SubscriptionSink) -> serde_json::Result<Events> {
        let (method, id) =
            (serde_json::to_string(sink.method_name())?, serde_json::to_string(&sink.subscription_id())?);
        let head = format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{{"subscription":{id},"result":"#);
        Ok(Events { outlet: self.clone(), head: head.len(), line: head.into_bytes() })
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.out().bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a message behind all that `outbox` holds.
    pub(super) fn push(&self, message: &RawValue, outbox: Option<&mut mpsc::Receiver<Box<RawValue>>>) {
        let mut out = self.out();
        if let Some(outbox) = outbox {
            // As many as are there now: a producer on another thread may add them as fast as they are taken.
            for _ in 0..outbox.len() {
                let Ok(before) = outbox.try_recv() else { break };
                out.push(&before);
            }
        }
        out.push(message);
    }

    /// Takes what comes through `outbox` next; ready with how much that is, nothing where no more comes.
    pub(super) fn poll_take(
        &self,
        outbox: &mut mpsc::Receiver<Box<RawValue>>,
        taken: &mut Vec<Box<RawValue>>,
        cx: &mut Context<'_>,
    ) -> Poll<usize> {
        // Under the lock, so that nothing passes what is taken.
        let mut out = self.out();
        let count = ready!(outbox.poll_recv_many(cx, taken, TAKEN_AT_ONCE));
        for message in taken.drain(..) {
            out.push(&message);
        }
        Poll::Ready(count)
    }

    /// Writes of what waits; pending as long as nothing does.
    pub(super) fn poll_write(
        &self,
        mut to: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut out = self.out();
        if out.bytes.is_empty() {
            out.task.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
            return Poll::Pending;
        }
        let written = ready!(to.as_mut().poll_write(cx, &out.bytes))?;
        out.bytes.advance(written);
        if out.bytes.is_empty() && out.bytes.capacity() > HIGH_WATER {
            // The memory of a long answer is given back.
            out.bytes = BytesMut::new();
        }
        Poll::Ready(Ok(written))
    }

    /// From now on nothing goes past the connection's task.
    pub(super) fn close(&self) {
        self.out().stream = None;
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    /// Adds one message and its newline. A newline inside, which only spacing between tokens can be, becomes a space.
    fn push(&mut self, message: &RawValue) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message.get().as_bytes());
        for byte in self.bytes[start..].iter_mut().filter(|byte| **byte == b'\n') {
            *byte = b' ';
        }
        self.bytes.extend_from_slice(b"\n");
    }
}

impl Events {
    /// Sends an event of `sink` at once; false where it is to go by the sink, since something waits that was there before.
    pub fn pass(&mut self, event: &impl Serialize, sink: &SubscriptionSink) -> bool {
        self.line.truncate(self.head);
        if serde_json::to_writer(&mut self.line, event).is_err() {
            return false;
        }
        self.line.extend_from_slice(b"}}\n");
        let mut out = self.outlet.out();
        let Out { bytes, stream: Some(stream), task } = &mut *out else { return false };
        if !bytes.is_empty() || sink.capacity() < sink.max_capacity() || sink.is_closed() {
            return false;
        }
        // What is wrong with the socket is met by the connection's task again.
        let written = (&**stream).write(&self.line).unwrap_or_default();
        if written < self.line.len() {
            bytes.extend_from_slice(&self.line[written..]);
            if let Some(task) = task.take() {
                task.wake();
            }
        }
        true
    }
}
