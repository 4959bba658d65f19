//! One newline-delimited connection: a single task that reads lines, runs their calls and writes the answers.
//!
//! Everything the connection does lives in this task, so that ending it, for whatever reason, drops its running calls
//! and thereby cancels what they wait for. Only subscriptions run elsewhere, in tasks of jsonrpsee; they end when the
//! outbox closes, and where nothing waits they write an event themselves (`outlet`). `connection` calls [`serve`] with the stream and what it has read of it.
//!
//! Who waits for whom: a client that does not read fills the socket, then `out` up to [`HIGH_WATER`]; then finished
//! calls are not collected and the outbox fills, so that subscriptions wait in `send`. Too many running calls, or a
//! full `out`, and the socket is not read. A client that takes nothing for [`Limits::write_timeout`] is dropped.

use std::future::{pending, poll_fn};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jsonrpsee::core::middleware::RpcServiceT;
use jsonrpsee::server::MethodResponse;
use jsonrpsee::types::{ErrorObjectOwned, Id};
use serde_json::value::RawValue;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::accept::Shared;
use super::connection::{self, LINGER};
use super::dispatch::Dispatch;
use super::limits::Held;
use super::lines::{Lines, TooLong};
use super::message::{self, Incoming};
use super::outlet::{HIGH_WATER, Outlet};
use super::peer::Peer;
use super::quiet::{Quiet, Reader, Writer};
use super::refusal;
use super::rules::Rules;
use super::stall::Impatient;

/// Serves the connection, of which `lines` was read already, until its end.
pub(super) async fn serve(stream: UnixStream, lines: Lines, id: u32, shared: &Shared) {
    let peer = Peer::of(&stream);
    let stream = match Quiet::new(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a connection could not be watched"),
    };
    let linger = match run(&stream, peer, lines, id, shared).await {
        Input::Refused => LINGER,
        Input::Stopped => Duration::ZERO,
        Input::Open | Input::Ended => return,
    };
    if let Ok(mut stream) = stream.into_stream() {
        connection::leave(&mut stream, linger).await;
    }
}

/// Serves until nothing is left to do, and tells how the input ended; it is still open when the client is gone.
async fn run(stream: &Quiet, peer: Peer, lines: Lines, id: u32, shared: &Shared) -> Input {
    let mut connection = Connection::new(stream, peer, lines, id, shared);
    loop {
        connection.take_lines();
        if connection.is_done() {
            return connection.input;
        }
        let event = connection.next_event().await;
        if connection.handle(event).is_break() {
            return Input::Open;
        }
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    lines: Lines,
    read: Reader<'a>,
    write: Impatient<Writer<'a>>,
    /// Gone once no further call can begin: it holds the outbox open.
    service: Option<Arc<Rules<Dispatch>>>,
    calls: FuturesUnordered<BoxFuture<'static, MethodResponse>>,
    /// `None` once all senders are gone.
    outbox: Option<mpsc::Receiver<Box<RawValue>>>,
    taken: Vec<Box<RawValue>>,
    /// Answers that wait to be written.
    out: Outlet,
    input: Input,
    /// When the unfinished line must be finished.
    deadline: Option<Instant>,
    /// What the unfinished line takes of the budget.
    held: Held,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Tells of the client's end while the socket is not read.
    watch: Option<AsyncFd<OwnedFd>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// More may come.
    Open,
    /// The client has said all; what it asked for is answered.
    Ended,
    /// The daemon ends; what runs is answered, and what was not begun is not.
    Stopped,
    /// What came cannot be understood any more; nothing but the error is sent.
    Refused,
}

enum Event {
    Wrote(std::io::Result<usize>),
    Answered(MethodResponse),
    Queued(usize),
    Read(std::io::Result<usize>),
    HungUp,
    Overdue,
    Stop,
}

impl<'a> Connection<'a> {
    fn new(stream: &'a Quiet, peer: Peer, lines: Lines, id: u32, shared: &'a Shared) -> Self {
        let (sender, outbox) = mpsc::channel(shared.limits.outbox);
        let out = Outlet::new(stream.shared());
        let dispatch = Dispatch::new(shared.methods.clone(), id, sender, &shared.limits, peer, out.clone());
        let (read, write) = stream.split();
        Self {
            shared,
            lines,
            read,
            write: Impatient::new(write, shared.limits.write_timeout),
            service: Some(Arc::new(Rules::new(dispatch, shared.limits.message_bytes))),
            calls: FuturesUnordered::new(),
            outbox: Some(outbox),
            taken: Vec::new(),
            out,
            input: Input::Open,
            deadline: None,
            held: None,
            stop: Box::pin(shared.shutdown.clone().cancelled_owned()),
            watch: None,
        }
    }

    fn has_room(&self) -> bool {
        self.calls.len() < self.shared.limits.in_flight && self.out.len() < HIGH_WATER
    }

    /// Whether the socket should be read; otherwise it is watched for the client's end.
    fn is_reading(&self) -> bool {
        self.input == Input::Open && self.has_room()
    }

    fn is_done(&self) -> bool {
        self.service.is_none() && self.calls.is_empty() && self.outbox.is_none() && self.out.is_empty()
    }

    /// Begins what the lines that are there ask for.
    fn take_lines(&mut self) {
        let Some(service) = self.service.clone() else { return };
        while self.has_room() {
            match self.lines.next() {
                Ok(Some(line)) => {
                    self.deadline = None;
                    self.held = None;
                    self.begin(&service, &line);
                }
                Ok(None) => {
                    self.await_rest();
                    break;
                }
                Err(TooLong) => return self.refuse(&refusal::too_long(self.shared.limits.message_bytes)),
            }
        }
        if !self.has_room() {
            // The client cannot finish a line that is not read.
            self.deadline = None;
        }
        if self.input != Input::Open && self.lines.is_empty() && self.calls.is_empty() {
            self.service = None;
        }
    }

    /// Starts the clock for a line that has begun, and counts it.
    fn await_rest(&mut self) {
        let unfinished = self.lines.unfinished();
        if unfinished == 0 {
            return;
        }
        self.deadline.get_or_insert_with(|| Instant::now() + self.shared.limits.line_timeout);
        if !self.shared.budget.grow(&mut self.held, unfinished) {
            self.refuse(&refusal::busy("other connections are sending too much; send this again"));
        }
    }

    /// Calls what one line names. What answers at once, like a ping, never waits among the running calls.
    fn begin(&mut self, service: &Arc<Rules<Dispatch>>, line: &[u8]) {
        let incoming = message::read(line, self.shared.limits.batch);
        let Ok(held) = self.shared.budget.hold(line.len()) else {
            let id = if let Incoming::Call(request) = incoming { request.id } else { Id::Null };
            let why = "too much is being worked on; send this again";
            return self.answer(MethodResponse::error(id, refusal::busy(why)));
        };
        let service = Arc::clone(service);
        let mut call: BoxFuture<'static, MethodResponse> = match incoming {
            Incoming::Refused(response) => return self.answer(response),
            Incoming::Call(request) => async move { service.call(request).await }.boxed(),
            Incoming::Notification(notification) => async move { service.notification(notification).await }.boxed(),
            Incoming::Batch(batch) => async move { service.batch(batch).await }.boxed(),
        };
        match (&mut call).now_or_never() {
            Some(response) => self.answer(response),
            None => self.calls.push(
                async move {
                    let _held = held;
                    call.await
                }
                .boxed(),
            ),
        }
    }

    /// Queues an answer behind everything that the outbox had before it, so that a subscription's last event leaves
    /// before the answer to its end.
    fn answer(&mut self, response: MethodResponse) {
        // A subscription's answer went through the outbox; a notification has none.
        if response.is_method_call() || response.is_batch() {
            let success = response.is_success();
            let (message, sent, _) = response.into_parts();
            self.out.push(&message, self.outbox.as_mut());
            if let Some(sent) = sent {
                sent.notify(success);
            }
        }
    }

    /// Says what is wrong as the last thing this connection says. Its calls and subscriptions end.
    fn refuse(&mut self, error: &ErrorObjectOwned) {
        self.answer(MethodResponse::error(Id::Null, error.borrow()));
        self.out.close();
        self.input = Input::Refused;
        self.lines.clear();
        self.calls.clear();
        self.service = None;
        self.outbox = None;
        self.deadline = None;
        self.held = None;
    }

    /// Waits for what comes first. Every branch may be dropped at any time: what it has not reported has not happened.
    async fn next_event(&mut self) -> Event {
        let reading = self.is_reading();
        let collecting = self.out.len() < HIGH_WATER;
        let open = self.input == Input::Open;
        if reading {
            // It wakes for room too.
            self.watch = None;
        } else if self.watch.is_none() {
            self.watch = watch(&self.read);
        }
        tokio::select! {
            biased;
            written = poll_fn(|cx| self.out.poll_write(Pin::new(&mut self.write), cx)) => Event::Wrote(written),
            () = &mut self.stop, if open => Event::Stop,
            Some(response) = self.calls.next(), if collecting && !self.calls.is_empty() => Event::Answered(response),
            count = poll_fn(|cx| match &mut self.outbox {
                Some(outbox) => self.out.poll_take(outbox, &mut self.taken, cx),
                None => Poll::Pending,
            }), if collecting => Event::Queued(count),
            read = self.read.read_buf(self.lines.space()), if reading => Event::Read(read),
            () = hung_up(self.watch.as_ref()), if !reading => Event::HungUp,
            () = overdue(self.deadline), if reading => Event::Overdue,
        }
    }

    /// Breaks when the connection is over at once, with whatever is unsent.
    fn handle(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Wrote(Ok(0) | Err(_)) | Event::Read(Err(_)) | Event::HungUp => return ControlFlow::Break(()),
            Event::Answered(response) => self.answer(response),
            Event::Queued(0) => self.outbox = None,
            Event::Queued(_) | Event::Wrote(Ok(_)) | Event::Read(Ok(1..)) => {}
            Event::Read(Ok(0)) => {
                self.input = Input::Ended;
                self.lines.end();
            }
            Event::Stop => {
                self.input = Input::Stopped;
                self.lines.clear();
            }
            Event::Overdue => {
                let (bytes, limit) = (self.lines.unfinished(), self.shared.limits.line_timeout);
                let why = format!("{bytes} bytes, and no newline within {limit:?}; end each message with one");
                self.refuse(&refusal::parse_error(why));
            }
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.out.close();
    }
}

async fn overdue(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// A second descriptor of the socket, to wait for hang-up on: tokio's own halves report it only to who reads or has
/// something to write. Without one (there may be no descriptor left) the client's end is noticed later.
fn watch(stream: &Reader<'_>) -> Option<AsyncFd<OwnedFd>> {
    let fd = stream.as_fd().try_clone_to_owned().ok()?;
    // SAFETY: an `OwnedFd` names one descriptor, which stays open until the `AsyncFd` that owns it is dropped.
    unsafe { AsyncFd::register_with_interest(fd, Interest::WRITABLE) }.ok()
}

/// Ends when the client has closed both directions. One that has only finished sending still reads.
async fn hung_up(watch: Option<&AsyncFd<OwnedFd>>) {
    let Some(watch) = watch else { return pending().await };
    while let Ok(mut guard) = watch.writable().await {
        if guard.ready().is_write_closed() {
            return;
        }
        guard.clear_ready();
    }
}

#[cfg(test)]
#[path = "ndjson_tests.rs"]
mod tests;
