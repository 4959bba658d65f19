//! Why a download does not go on.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::{ErrorData, Kind};
use rustix::io::Errno;

/// Bytes that stay free beyond those of a model, for the file system's own needs.
pub const SPARE_BYTES: u64 = 64 << 20;

/// What stops a download, or one attempt of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PullError {
    /// The hub has no such repository, or hides it.
    #[error("{id} is not on {endpoint}, or is private: check its name, or give a token that may read it")]
    NoRepository {
        /// What was asked for.
        id: String,
        /// Which hub.
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{id} has no revision {revision:?} on {endpoint}")]
    NoRevision {
        /// The repository.
        id: String,
        /// What was asked for.
        revision: String,
        /// Which hub.
        endpoint: String,
    },
    /// A file that the hub has listed is not there.
    #[error("{id} has no file {path} at {revision}, though it is listed")]
    NoFile {
        /// The repository.
        id: String,
        /// The file.
        path: String,
        /// The commit.
        revision: String,
    },
    /// Terms must be accepted, or the token may not read it.
    #[error("{id} is not open to everybody: accept its terms at {endpoint}/{id}, and give a token that may read it")]
    Denied {
        /// The repository.
        id: String,
        /// Which hub.
        endpoint: String,
    },
    /// Nothing here could run it.
    #[error("{id} cannot be used: {problem}")]
    NotSupported {
        /// The repository.
        id: String,
        /// Why, and what could.
        problem: String,
    },
    /// The list of files is not one that can be trusted.
    #[error("{id} is refused: {problem}")]
    Refused {
        /// The repository.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// The hub had enough, or fails for now.
    #[error("{host} answered {status}")]
    Unwell {
        /// Who answered.
        host: String,
        /// The status of HTTP.
        status: u16,
        /// When to come again, as it says.
        retry_after: Option<Duration>,
    },
    /// No connection, or it broke off.
    #[error("{host} cannot be reached: {problem}")]
    Unreachable {
        /// Who.
        host: String,
        /// Why.
        problem: String,
    },
    /// An answer that is not what was asked for.
    #[error("{host} {problem}")]
    Odd {
        /// Who answered.
        host: String,
        /// What.
        problem: String,
    },
    /// Bytes whose hash is wrong, again and again.
    #[error("{path} came with wrong bytes {times} times: its hash is not the one that the hub has of it")]
    Damaged {
        /// The file.
        path: String,
        /// How often.
        times: u32,
    },
    /// No room on the disk.
    #[error("{}", full(path, *needed_bytes, *free_bytes))]
    DiskFull {
        /// A folder on the disk, or what could not be written.
        path: PathBuf,
        /// Bytes that are to come; 0 where that is not known.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// A file or folder of ours fails.
    #[error("failed to {action} {}: {problem}", path.display())]
    Storage {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        problem: String,
    },
    /// Another daemon works on it.
    #[error("{} is in use by another talkied", path.display())]
    Taken {
        /// The download's folder.
        path: PathBuf,
    },
    /// It was told to stop.
    #[error("it was stopped")]
    Stopped,
}

fn full(path: &Path, needed_bytes: u64, free_bytes: u64) -> String {
    let path = path.display();
    match needed_bytes {
        0 => format!("{path} cannot be written, for its disk is full: make room"),
        _ => format!(
            "{path} has {free_bytes} bytes free, but {needed_bytes} are to come and {SPARE_BYTES} stay free: make room"
        ),
    }
}

impl PullError {
    /// Whether the same attempt may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unwell { .. } | Self::Unreachable { .. } | Self::Odd { .. })
    }

    /// When to try again, where somebody says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unwell { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A failure with a file of ours. What is missing when the disk is full is for those to say who know it.
    pub fn storage(action: &'static str, path: &Path, error: &io::Error) -> Self {
        let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].map(|errno| Some(errno.raw_os_error()));
        if full.contains(&error.raw_os_error()) {
            return Self::DiskFull { path: path.to_owned(), needed_bytes: 0, free_bytes: 0 };
        }
        Self::Storage { action, path: path.to_owned(), problem: error.to_string() }
    }
}

impl From<&PullError> for ErrorData {
    fn from(error: &PullError) -> Self {
        let kind = match error {
            PullError::NoRepository { .. } | PullError::NoRevision { .. } | PullError::NoFile { .. } => {
                Kind::RepositoryNotFound
            }
            PullError::Denied { .. } => Kind::AccessDenied,
            PullError::NotSupported { .. } => Kind::NotSupported,
            PullError::Refused { .. } | PullError::Damaged { .. } => Kind::DownloadDamaged,
            PullError::Unwell { .. } | PullError::Unreachable { .. } | PullError::Odd { .. } => Kind::HubUnavailable,
            PullError::DiskFull { .. } => Kind::DiskFull,
            PullError::Storage { .. } | PullError::Taken { .. } => Kind::StorageFailed,
            PullError::Stopped => Kind::ShuttingDown,
        };
        let mut data = Self::new(kind, error.to_string());
        data.retry_after_ms = error.retry_after().map(|wait| wait.as_millis() as u64);
        data
    }
}
