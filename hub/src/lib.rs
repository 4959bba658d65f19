//! A hub for tests: it behaves as Hugging Face's does, as far as downloads see it, and fails on demand.
//!
//! Two listeners on the loopback: the hub itself, which describes repositories and redirects to files, and the host that
//! files are redirected to. One thread for each connection and plain sockets, so that a connection can be cut, stalled or
//! lied on after any byte. Every byte that leaves is counted. Nothing here is meant for anything but tests.

mod content;
mod fault;
mod http;
mod repo;
mod serve;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

pub use content::Content;
pub use fault::{Fault, Kind, Match};
pub use repo::Repo;
use socket2::{Domain, Socket, Type};

/// A running hub; it ends when dropped.
#[derive(Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The first byte that was asked for.
    pub from: Option<u64>,
    /// Whether it went to the host of files.
    pub is_file_host: bool,
    /// Whether it had an `Authorization`.
    pub has_token: bool,
    /// The answer.
    pub status: u16,
}

#[derive(Debug)]
pub(crate) struct Shared {
    hub: SocketAddr,
    files: SocketAddr,
    state: Mutex<State>,
    ended: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    repos: Vec<Repo>,
    faults: Vec<Fault>,
    requests: Vec<Request>,
    /// Bytes of bodies of files that were sent, by path.
    sent: Vec<(String, u64)>,
    /// Bytes per second of one connection.
    rate: Option<u64>,
    connections: usize,
    peak_connections: usize,
}

impl Hub {
    /// Starts on any port.
    pub fn start() -> Self {
        Self::start_at(0).expect("the loopback has a free port")
    }

    /// Starts on a port of the loopback.
    pub fn start_at(port: u16) -> std::io::Result<Self> {
        let (hub, files) = (listen(port)?, listen(0)?);
        let shared = Arc::new(Shared {
            hub: hub.local_addr()?,
            files: files.local_addr()?,
            state: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        for (listener, is_file_host) in [(hub, false), (files, true)] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared, is_file_host));
        }
        Ok(Self { shared })
    }

    /// The address to give to programs, as `HF_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.shared.hub)
    }

    /// Adds a repository, or a new commit of one: its `main` is this from now on.
    pub fn add(&self, repo: Repo) {
        self.shared.state().repos.push(repo);
    }

    /// Has requests fail from now on. Of several faults that match, the first one counts.
    pub fn fail(&self, fault: Fault) {
        self.shared.state().faults.push(fault);
    }

    /// Ends all faults; what stalls goes on.
    pub fn heal(&self) {
        self.shared.state().faults.clear();
    }

    /// Sends no faster than so many bytes per second on each connection.
    pub fn slow(&self, bytes_per_second: u64) {
        self.shared.state().rate = Some(bytes_per_second);
    }

    /// Bytes of a file that were sent, by its name alone.
    pub fn sent(&self, path: &str) -> u64 {
        self.shared.state().sent.iter().filter(|(name, _)| name == path).map(|(_, bytes)| bytes).sum()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// The most connections that were open at a time.
    pub fn peak_connections(&self) -> usize {
        self.shared.state().peak_connections
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for address in [self.shared.hub, self.shared.files] {
            // Wakes the thread that accepts; nobody may be there any more.
            drop(std::net::TcpStream::connect(address));
        }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A listener whose connections have small buffers, so that what was sent is close to what was received.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_send_buffer_size(64 << 10)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, is_file_host: bool) {
    for stream in listener.incoming().flatten() {
        if shared.has_ended() {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            {
                let mut state = shared.state();
                state.connections += 1;
                state.peak_connections = state.peak_connections.max(state.connections);
            }
            // A client that goes away is what tests are about.
            drop(serve::serve(stream, &shared, is_file_host));
            shared.state().connections -= 1;
        });
    }
}
