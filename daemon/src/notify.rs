//! Tells systemd when the daemon is ready and when it ends. Elsewhere there is nobody to tell.

/// The socket is served.
pub fn ready() {
    tell(State::Ready);
}

/// The daemon ends.
pub fn stopping() {
    tell(State::Stopping);
}

#[derive(Clone, Copy)]
enum State {
    Ready,
    Stopping,
}

#[cfg(target_os = "linux")]
fn tell(state: State) {
    let state = match state {
        State::Ready => sd_notify::NotifyState::Ready,
        State::Stopping => sd_notify::NotifyState::Stopping,
    };
    // Without NOTIFY_SOCKET this does nothing and succeeds.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell(state: State) {
    match state {
        State::Ready | State::Stopping => {}
    }
}
