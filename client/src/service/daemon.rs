//! The daemon that was started without the manager: it has the socket that the manager is to have.

use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use protocol::rpc::DaemonClient;
use tokio::time::Instant;

use super::error::{Error, Reason};
use crate::Client;

/// Longest that running requests are waited for.
const PATIENCE: Duration = Duration::from_mins(1);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks whoever serves there to end after the requests that run, and waits until the socket is free. A socket that a
/// killed daemon left behind is removed.
pub(super) async fn end(socket: &Path) -> Result<(), Error> {
    if let Ok(client) = Client::connect(socket).await {
        // It may end before its answer is through.
        let _ = tokio::time::timeout(PATIENCE, client.shutdown()).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while !is_free(socket) {
        if Instant::now() >= deadline {
            let hint = "end it with `talkiectl stop`, or end its process";
            return Err(Error::new(Reason::Busy { socket: socket.to_path_buf() }, hint));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether no daemon holds the socket: each holds a lock beside it for as long as it lives.
fn is_free(socket: &Path) -> bool {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    let Ok(lock) = File::open(&lock) else { return true };
    if lock.try_lock().is_err() {
        return false;
    }
    if fs::symlink_metadata(socket).is_ok_and(|file| file.file_type().is_socket()) {
        // Under the lock, so it is nobody's; the manager makes its own, and fails if it cannot.
        let _ = fs::remove_file(socket);
    }
    true
}
