//! Tells systemd when the daemon is ready, that it gets on, and when it ends. Elsewhere there is nobody to tell.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::scheduler::Scheduler;

/// What the end takes beyond the drain: last words of connections and engines that are killed.
const AFTER_DRAIN: Duration = Duration::from_secs(15);

/// Signs of life for each interval of the watchdog, so that one that comes late is still in time.
const BEATS: u32 = 3;

/// Tells that the socket is served, gives signs of life, and at `stop` tells that the daemon ends, which may take as long
/// as running requests may. Ends with the scheduler.
pub async fn announce(scheduler: Scheduler, drain: watch::Receiver<Duration>, stop: CancellationToken) {
    system::tell(State::Ready);
    let end = async {
        stop.cancelled().await;
        system::tell(State::Stopping(*drain.borrow() + AFTER_DRAIN));
    };
    tokio::join!(end, keep_watch(scheduler));
}

/// Feeds systemd's watchdog, where it watches: each sign of life has gone through the runtime to the scheduler's loop
/// and back. A loop that hangs gives none, and systemd ends this process and starts it again.
async fn keep_watch(scheduler: Scheduler) {
    if let Some(interval) = system::watchdog() {
        beat(interval / BEATS, &scheduler, || system::tell(State::Alive)).await;
    }
}

async fn beat(pause: Duration, scheduler: &Scheduler, alive: impl Fn()) {
    while scheduler.beat().await.is_ok() {
        alive();
        // The end of the daemon waits for this loop, and must not wait for a sign of life.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = scheduler.ended() => break,
        }
    }
}

#[derive(Clone, Copy)]
enum State {
    Ready,
    Alive,
    Stopping(Duration),
}

#[cfg(target_os = "linux")]
mod system {
    use std::time::Duration;

    use sd_notify::NotifyState;

    use super::State;

    pub(super) fn tell(state: State) {
        let told = match state {
            State::Ready => sd_notify::notify(&[NotifyState::Ready]),
            State::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            State::Stopping(time) => {
                let time = NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
                sd_notify::notify(&[NotifyState::Stopping, time])
            }
        };
        // Without NOTIFY_SOCKET this does nothing and succeeds.
        if let Err(error) = told {
            tracing::warn!(%error, "systemd could not be told");
        }
    }

    pub(super) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::time::Duration;

    use super::State;

    pub(super) fn tell(state: State) {
        match state {
            State::Ready | State::Alive => {}
            State::Stopping(time) => tracing::debug!(?time, "the end takes at most"),
        }
    }

    pub(super) fn watchdog() -> Option<Duration> {
        None
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
