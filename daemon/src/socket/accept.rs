//! Lets clients in: the same user only, so many at once, each in a task that shutdown waits for.
//!
//! [`serve`] is the whole life of the socket, called once by `run`. Nothing a client does ends it.

use std::io::{self, Read};
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use jsonrpsee::server::{Methods, ServerHandle, StopHandle, stop_channel};
use socket2::SockRef;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::limits::{Budget, Limits};
use super::posted::Posts;
use super::{connection, descriptors, refusal};

/// After an error of `accept` that another attempt would only repeat: no descriptor or no memory is left.
const PAUSE: Duration = Duration::from_millis(50);

/// Descriptors left to everything that is no connection: files of models, engines, logs.
const OTHER_DESCRIPTORS: usize = 64;

/// How many connections are open and were, for `daemon.status` and for who waits until nobody comes.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU32,
    all: AtomicU64,
}

impl Connections {
    /// The number now.
    pub fn open(&self) -> u32 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Those that were ever let in, the open ones included.
    pub fn all(&self) -> u64 {
        self.0.all.load(Ordering::Relaxed)
    }

    fn enter(&self) -> Counted {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.all.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

/// One open connection; dropping it counts it out.
struct Counted(Connections);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every connection needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) methods: Methods,
    pub(super) posts: Posts,
    pub(super) limits: Limits,
    pub(super) budget: Budget,
    pub(super) shutdown: CancellationToken,
    /// `shutdown`, in jsonrpsee's own type.
    pub(super) stop: StopHandle,
}

/// Accepts connections and serves `methods` and `posts` to them until `shutdown`; then closes the listener, lets running calls end
/// within [`Limits::drain`], and cuts what is left. Returns when no connection is open any more.
///
/// A WebSocket's subscriptions are cut when shutdown begins, its calls are not: jsonrpsee does not wait for the former.
pub async fn serve(
    listener: StdListener,
    methods: impl Into<Methods>,
    posts: Posts,
    limits: Limits,
    connections: Connections,
    shutdown: CancellationToken,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let (stop, stopper) = stop_channel();
    let budget = Budget::new(&limits);
    let shared = Arc::new(Shared { methods: methods.into(), posts, limits, budget, shutdown, stop });
    let mut tasks = JoinSet::new();
    accept(listener, &shared, &connections, &mut tasks).await;
    drain(tasks, &shared.limits, &stopper).await;
    Ok(())
}

/// Takes the listener, so that clients who come after shutdown began are refused and not left waiting.
async fn accept(listener: UnixListener, shared: &Arc<Shared>, connections: &Connections, tasks: &mut JoinSet<()>) {
    let most = shared.limits.connections.min(descriptors::raise().saturating_sub(OTHER_DESCRIPTORS).max(1));
    let mut next_id = 0_u32;
    loop {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            Some(ended) = tasks.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if !is_ours(&stream) => {}
                Ok((stream, _)) if tasks.len() >= most => turn_away(&stream, most),
                Ok((stream, _)) => {
                    next_id = next_id.wrapping_add(1);
                    spawn(stream, next_id, shared, connections, tasks);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                }
            },
        }
    }
}

fn spawn(stream: UnixStream, id: u32, shared: &Arc<Shared>, connections: &Connections, tasks: &mut JoinSet<()>) {
    let (shared, counted) = (Arc::clone(shared), connections.enter());
    let span = tracing::debug_span!("connection", id);
    tasks.spawn(
        async move {
            let _counted = counted;
            connection::serve(stream, id, &shared).await;
        }
        .instrument(span),
    );
}

/// Whether the client runs as the daemon's user, or as root, who could become that anyway.
fn is_ours(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if may_connect(peer.uid(), rustix::process::geteuid().as_raw()) => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), pid = peer.pid(), "another user's client was refused");
            false
        }
        // macOS does not know who a client was that is gone already.
        Err(error) => {
            tracing::debug!(%error, "a client's user is unknown");
            false
        }
    }
}

fn may_connect(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// Answers one client too many, without waiting for it. What it has sent so far is read: unread, it could cost the
/// client the answer.
fn turn_away(stream: &UnixStream, most: usize) {
    let mut sent = [0; 16 << 10];
    // It fails where nothing was sent yet.
    let _ = (&*SockRef::from(stream)).read(&mut sent);
    connection::say(stream, &refusal::busy(format!("{most} connections are open, and no more are let in")));
}

/// Waits for the connections that are left, then cuts them.
async fn drain(mut tasks: JoinSet<()>, limits: &Limits, stopper: &ServerHandle) {
    // It fails when no HTTP connection listens for it.
    let _ = stopper.stop();
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            report(ended);
        }
    };
    let patience = *limits.drain.borrow();
    if timeout(patience, all).await.is_err() {
        tracing::warn!(connections = tasks.len(), "cut after {patience:?}");
        tasks.shutdown().await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task broke off");
    }
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
