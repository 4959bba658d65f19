//! Makes the socket's place in the file system: one daemon, one user, nobody else.
//!
//! `run` calls [`bind`] once and keeps the [`Claim`] as long as it serves. The rule of the files: `<socket>.lock` is
//! held for life, and only its holder touches the socket. A lock is never removed, for a second daemon may be waiting
//! to open it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol::paths::{MAX_SOCKET_PATH, SOCKET_VARIABLE};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use socket2::{Domain, SockAddr, Socket, Type};

/// Connections the system keeps for us until they are accepted; it takes less where it must.
const BACKLOG: i32 = 4096;

/// How long the lock of a process that is gone is waited for: what it was starting as it died has the lock too, until it is
/// another program.
const HELD_BY_THE_DEAD: Duration = Duration::from_secs(2);

/// Permission bits of a file's mode.
const PERMISSIONS: u32 = 0o7777;

/// A path for the socket, and whose idea it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The daemon's own: its directory is tightened where needed.
    Default(PathBuf),
    /// Named by the user: its directory is left alone, and refused when it is not safe.
    Named(PathBuf),
}

impl Place {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Default(path) | Self::Named(path) => path,
        }
    }
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The instance lock is taken: there is a daemon already.
    #[error("another talkied {} on {}", running(*.pid), .socket.display())]
    Running {
        /// Its process, when it has written it down.
        pid: Option<u32>,
        /// Where it listens.
        socket: PathBuf,
    },
    /// The path cannot or must not be used, and says what to do.
    #[error("cannot listen on {}: {reason}", .path.display())]
    Unusable {
        /// The socket, or what stands in its way.
        path: PathBuf,
        /// Why, and the way out.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn running(pid: Option<u32>) -> String {
    pid.map_or_else(|| "runs".to_owned(), |pid| format!("runs as process {pid}"))
}

/// A socket that listens, and the right to it.
#[derive(Debug)]
pub struct Bound {
    /// Listens already; not blocking.
    pub listener: UnixListener,
    /// Keep it until nothing is served any more.
    pub claim: Claim,
}

/// The right to a socket's path. Dropping it removes the socket that [`bind`] made, then lets the next daemon in. An
/// adopted socket stays: it belongs to launchd or systemd, which goes on listening.
#[derive(Debug)]
pub struct Claim {
    made: Option<Made>,
    /// Closing it unlocks it; the kernel does, should the process die.
    _lock: File,
}

/// A socket file, as it was made.
#[derive(Debug)]
struct Made {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(made) = &self.made else { return };
        // Someone may have put another file there meanwhile; that one is not ours to remove.
        let is_ours = |file: fs::Metadata| file.dev() == made.device && file.ino() == made.inode;
        if fs::symlink_metadata(&made.path).is_ok_and(is_ours)
            && let Err(error) = fs::remove_file(&made.path)
        {
            tracing::warn!(%error, path = %made.path.display(), "the socket could not be removed");
        }
    }
}

/// Takes the place: its directory, the instance lock, and the socket that was `passed`, or one made there.
pub fn bind(place: &Place, passed: Option<UnixListener>) -> Result<Bound, BindError> {
    let path = place.path();
    check_length(path)?;
    prepare_directory(place)?;
    let lock = lock(path)?;
    if let Some(listener) = passed {
        return Ok(Bound { listener, claim: Claim { made: None, _lock: lock } });
    }
    remove_stale(path)?;
    let (listener, made) = listen(path).map_err(|source| failed("listen on", path, source))?;
    Ok(Bound { listener, claim: Claim { made: Some(made), _lock: lock } })
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> BindError {
    BindError::Io { action, path: path.to_owned(), source }
}

fn unusable(path: &Path, reason: impl Into<String>) -> BindError {
    BindError::Unusable { path: path.to_owned(), reason: reason.into() }
}

fn check_length(path: &Path) -> Result<(), BindError> {
    let length = path.as_os_str().len();
    if length <= MAX_SOCKET_PATH {
        return Ok(());
    }
    Err(unusable(
        path,
        format!(
            "the path has {length} bytes, and a socket's may have {MAX_SOCKET_PATH}; name a shorter one with {SOCKET_VARIABLE}"
        ),
    ))
}

/// Makes the directory where it is missing, and sees to it that nobody else can put files there.
fn prepare_directory(place: &Place) -> Result<(), BindError> {
    let directory = match place.path().parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| failed("make the directory", directory, source))?;
    let found = fs::metadata(directory).map_err(|source| failed("look at", directory, source))?;
    let (own, mode) = (rustix::process::geteuid().as_raw(), found.mode() & PERMISSIONS);
    match place {
        _ if found.uid() != own && !(found.uid() == 0 && matches!(place, Place::Named(_))) => {
            let reason = format!(
                "it belongs to user {}, who could replace the socket; name another with {SOCKET_VARIABLE}",
                found.uid()
            );
            Err(unusable(directory, reason))
        }
        Place::Default(_) if mode != 0o700 => fs::set_permissions(directory, Permissions::from_mode(0o700))
            .map_err(|source| failed("keep others out of", directory, source)),
        Place::Named(_) if mode & 0o022 != 0 => {
            let reason = format!(
                "others can write there (mode {mode:o}) and could replace the socket; run `chmod go-w` on it, or name a directory of your own with {SOCKET_VARIABLE}"
            );
            Err(unusable(directory, reason))
        }
        Place::Default(_) | Place::Named(_) => Ok(()),
    }
}

/// Takes the instance lock, and writes down whose it is.
fn lock(socket: &Path) -> Result<File, BindError> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| failed("open the lock", &path, source))?;
    let until = Instant::now() + HELD_BY_THE_DEAD;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&file);
                if !pid.is_some_and(is_dead) || Instant::now() > until {
                    return Err(BindError::Running { pid, socket: socket.to_owned() });
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::Error(source)) => return Err(failed("take the lock", &path, source)),
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|source| failed("write the lock", &path, source))?;
    Ok(file)
}

fn read_pid(lock: &File) -> Option<u32> {
    let mut text = [0; 16];
    let count = lock.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..count]).ok()?.trim().parse().ok()
}

fn is_dead(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// Removes a socket that a daemon left when it died. The lock is held, so no daemon listens on it.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("look at", path, source)),
        Ok(found) if !found.file_type().is_socket() => {
            let reason = format!(
                "a file that is no socket lies there; move it away, or name another path with {SOCKET_VARIABLE}"
            );
            Err(unusable(path, reason))
        }
        Ok(_) if is_listened_to(path) => {
            let reason = "another program listens there, perhaps launchd or systemd on talkied's behalf; start talkied through it, or stop it first";
            Err(unusable(path, reason))
        }
        Ok(_) => fs::remove_file(path).map_err(|source| failed("remove the stale socket", path, source)),
    }
}

/// Whether anyone may be listening there: all but a refusal counts, a full backlog too.
fn is_listened_to(path: &Path) -> bool {
    let connected = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    });
    match connected {
        Ok(()) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound),
    }
}

/// Binds, sets mode 0600, and only then listens: before that the system refuses every connection, so there is no
/// moment in which another user could connect. `umask` would change the mode of every file that any thread makes
/// meanwhile, and `fchmod` on a socket changes the file on no system but Linux, and there only before `bind`.
fn listen(path: &Path) -> io::Result<(UnixListener, Made)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let file = fs::symlink_metadata(path)?;
    let made = Made { path: path.to_owned(), device: file.dev(), inode: file.ino() };
    Ok((UnixListener::from(std::os::fd::OwnedFd::from(socket)), made))
}

#[cfg(test)]
#[path = "bind_tests.rs"]
mod tests;
