//! Takes over the socket that launchd or systemd made and passed to this process.
//!
//! The one place that differs between systems. [`passed`] gives nothing where nobody passed anything; then `bind`
//! makes the socket. Telling systemd that the daemon is ready is somebody else's work.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{SockRef, Type};

/// The socket passed to this process, not blocking and closed on exec. A second call gives nothing: the first one's
/// caller owns it.
pub fn passed() -> io::Result<Option<UnixListener>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(None);
    }
    let mut sockets = system::sockets()?;
    match (sockets.pop(), sockets.len()) {
        (None, _) => Ok(None),
        (Some(socket), 0) => listener(socket).map(Some),
        (Some(_), more) => Err(invalid(format!("{} sockets were passed to talkied, which listens on one", more + 1))),
    }
}

/// Makes sure that the descriptor is what it should be, for whoever passed it may be configured wrongly.
fn listener(passed: OwnedFd) -> io::Result<UnixListener> {
    let socket = SockRef::from(&passed);
    if !socket.local_addr()?.is_unix() || socket.r#type()? != Type::STREAM {
        return Err(invalid("what was passed to talkied is no Unix stream socket".to_owned()));
    }
    socket.set_cloexec(true)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from(passed))
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::{FromRawFd, OwnedFd};

    /// What systemd announced in `LISTEN_FDS` to this process and no other.
    pub(super) fn sockets() -> io::Result<Vec<OwnedFd>> {
        // SAFETY: systemd opened these descriptors for this process, and `passed` asks once, so nobody else owns them.
        // `listen_fds` has used each, so it is open.
        Ok(sd_notify::listen_fds()?.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect())
    }
}

#[cfg(target_os = "macos")]
mod system {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::io;
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::{ptr, slice};

    /// The name under `Sockets` in the property list.
    const NAME: &CStr = c"rpc";

    const ENOENT: c_int = 2;
    const ESRCH: c_int = 3;

    unsafe extern "C" {
        fn launch_activate_socket(name: *const c_char, fds: *mut *mut c_int, count: *mut usize) -> c_int;
        fn free(allocation: *mut c_void);
    }

    /// What launchd opened for this job; nothing when this process is no job of it (`ESRCH`) or one without that
    /// socket (`ENOENT`).
    pub(super) fn sockets() -> io::Result<Vec<OwnedFd>> {
        let (mut fds, mut count) = (ptr::null_mut::<c_int>(), 0);
        // SAFETY: the name ends with a zero, and both places outlive the call.
        match unsafe { launch_activate_socket(NAME.as_ptr(), &raw mut fds, &raw mut count) } {
            0 if fds.is_null() => Ok(Vec::new()),
            0 => {
                // SAFETY: on success `fds` points to `count` descriptors that launchd gives away once, in memory that
                // is ours to free and is not used after.
                let sockets = unsafe { slice::from_raw_parts(fds, count) }
                    .iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) })
                    .collect();
                unsafe { free(fds.cast()) };
                Ok(sockets)
            }
            ENOENT | ESRCH => Ok(Vec::new()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod system {
    use std::io;
    use std::os::fd::OwnedFd;

    /// No other system passes sockets in a way known here.
    pub(super) fn sockets() -> io::Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
#[path = "passed_tests.rs"]
mod tests;
