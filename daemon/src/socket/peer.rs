//! Who is at the other end of a connection, for the methods that count or share by app.

use std::sync::{Arc, OnceLock};

use tokio::net::UnixStream;

use crate::app::Source;

/// The process at the other end; stands in the extensions of each of its requests.
#[derive(Debug, Clone)]
pub struct Peer(Arc<Known>);

#[derive(Debug)]
struct Known {
    /// `None` where the system does not tell.
    pid: Option<i32>,
    source: Source,
    program: OnceLock<Option<String>>,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        Self(Arc::new(Known { pid, source: Source::of(pid), program: OnceLock::new() }))
    }

    /// By what it shares with others.
    pub fn source(&self) -> Source {
        self.0.source
    }

    /// Whether its program was looked for.
    pub fn is_known(&self) -> bool {
        self.0.program.get().is_some()
    }

    /// The name of its program, as `look` finds it the first time.
    pub fn program(&self, look: impl FnOnce(i32) -> Option<String>) -> Option<String> {
        self.0.program.get_or_init(|| self.0.pid.and_then(look)).clone()
    }
}
