//! The end of a daemon that nobody uses, where launchd or systemd starts it again for the next client.
//!
//! It looks now and then and keeps nothing else awake; `run` starts it.

use std::sync::Arc;
use std::time::Duration;

use protocol::PullState;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pull::Pulls;
use crate::requests::Requests;
use crate::scheduler::Scheduler;
use crate::socket::Connections;
use crate::workflow::Workflows;

/// Looks in the time after which the daemon ends.
const LOOKS: u32 = 8;

/// Bounds of the time between two looks.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(5);

/// Who may be using the daemon.
#[derive(Debug)]
pub struct Users {
    /// Clients.
    pub connections: Connections,
    /// Models in memory, and requests to them.
    pub scheduler: Scheduler,
    /// Requests to servers.
    pub requests: Arc<Requests>,
    /// Downloads.
    pub pulls: Pulls,
    /// Runs.
    pub workflows: Workflows,
}

/// Who starts the daemon again after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// launchd or systemd, which passed the socket and goes on listening.
    ByNextClient,
    /// Nobody by itself.
    ByHand,
}

/// Has the daemon end after it was unused for so long, where the next client starts it again. The task ends with the daemon.
pub fn start(
    users: Users,
    after: watch::Receiver<Option<Duration>>,
    activation: Activation,
    stop: CancellationToken,
) -> JoinHandle<()> {
    if activation == Activation::ByNextClient {
        return tokio::spawn(end_unused(users, after, stop));
    }
    if after.borrow().is_some() {
        tracing::warn!(
            "idle_exit is ignored: neither launchd nor systemd passed the socket, so nobody would start it again"
        );
    }
    tokio::spawn(async {})
}

/// Ends the daemon when nobody has used it for so long; returns then, or when it ends for another reason.
async fn end_unused(users: Users, mut after: watch::Receiver<Option<Duration>>, stop: CancellationToken) {
    // The look that first found nobody: whoever left since the look before it was there until some time between them.
    let (mut seen, mut since) = (users.connections.all(), None);
    loop {
        let limit = *after.borrow_and_update();
        let Some(limit) = limit else {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = after.changed() => if changed.is_err() { return },
            }
            since = None;
            continue;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep((limit / LOOKS).clamp(SHORTEST, LONGEST)) => {}
        }
        let is_used = users.are_there().await;
        // Last of all, so that nobody who came during this look is overlooked.
        let all = users.connections.all();
        if is_used || all != seen || users.connections.open() > 0 {
            (seen, since) = (all, None);
        } else if since.get_or_insert_with(Instant::now).elapsed() >= limit {
            tracing::info!("nobody has used it for {limit:?}; the next client starts it again");
            return stop.cancel();
        }
    }
}

impl Users {
    async fn are_there(&self) -> bool {
        let Ok(scheduled) = self.scheduler.snapshot().await else { return true };
        let Ok(pulls) = self.pulls.list().await else { return true };
        // One that was paused or has failed waits for somebody, not for time.
        let is_going = |state| !matches!(state, PullState::Paused | PullState::Failed);
        !scheduled.residents.is_empty()
            || !scheduled.requests.is_empty()
            || !self.requests.listed().is_empty()
            || self.workflows.is_busy()
            || pulls.iter().any(|pull| is_going(pull.state))
    }
}
