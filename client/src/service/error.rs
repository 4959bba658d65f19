//! What can fail around a service, and the way out. The managers' own words are turned into these by their tables.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::error::Exit;

/// Why the service is not as it was to be.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Error {
    /// What happened.
    #[source]
    pub reason: Reason,
    /// What to do next.
    pub hint: String,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Nobody's folder to write into.
    #[error("no home directory is known")]
    NoHome,
    /// There is no service to do that with.
    #[error("talkied is not installed as a service")]
    NotInstalled,
    /// The program cannot be one for a service.
    #[error("{} {problem}", program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Text that the manager's files cannot hold.
    #[error("{what} has characters that a service's file cannot hold")]
    Unwritable {
        /// A path or a variable.
        what: String,
    },
    /// A file or folder.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manager's tool is not there or does not run.
    #[error("failed to run {tool}: {source}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The manager's tool gave no answer.
    #[error("{command} gave no answer for {seconds} s")]
    Silent {
        /// What was run.
        command: String,
        /// How long.
        seconds: u64,
    },
    /// The manager refused.
    #[error("`{command}` failed ({status}){}", said(words))]
    Refused {
        /// What was run.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        words: String,
    },
    /// A daemon that was started by other means keeps the socket.
    #[error("a talkied that runs already does not end, and keeps {}", socket.display())]
    Busy {
        /// Its socket.
        socket: PathBuf,
    },
    /// The manager has not let go of the old job or process.
    #[error("{what} after {seconds} s")]
    Late {
        /// What is so still.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
}

fn said(words: &str) -> String {
    words.lines().map(str::trim_end).filter(|line| !line.is_empty()).flat_map(|line| ["\n  | ", line]).collect()
}

impl Error {
    /// With the way out.
    pub(super) fn new(reason: Reason, hint: impl Into<String>) -> Self {
        Self { reason, hint: hint.into() }
    }

    pub(super) fn no_home() -> Self {
        Self::new(Reason::NoHome, "set HOME to the absolute path of your home directory")
    }

    pub(super) fn not_installed() -> Self {
        Self::new(Reason::NotInstalled, "install it with `talkiectl service install`")
    }

    pub(super) fn program(program: &Path, problem: impl Into<String>, hint: &str) -> Self {
        Self::new(Reason::Program { program: program.to_path_buf(), problem: problem.into() }, hint)
    }

    pub(super) fn unwritable_path(path: &Path) -> Self {
        let what = format!("the path {}", path.display());
        Self::new(Reason::Unwritable { what }, "use a path of UTF-8 text without control characters")
    }

    pub(super) fn unwritable_variable(name: &str) -> Self {
        let hint = "unset it, or set it to UTF-8 text without control characters";
        Self::new(Reason::Unwritable { what: format!("the variable {name}") }, hint)
    }

    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::PermissionDenied => "it must belong to you: look at `ls -ld` of it and of its folder",
            io::ErrorKind::ReadOnlyFilesystem => "its disk is read-only: name another home with TALKIE_HOME",
            io::ErrorKind::StorageFull => "make room on its disk",
            _ => "look at what lies there with `ls -l`",
        };
        Self::new(Reason::Io { action, path: path.to_path_buf(), source }, hint)
    }

    /// The exit code it ends a program with.
    pub const fn exit(&self) -> Exit {
        match self.reason {
            Reason::NoHome | Reason::Program { .. } | Reason::Unwritable { .. } => Exit::Usage,
            Reason::NotInstalled => Exit::NotFound,
            Reason::Io { .. } | Reason::Tool { .. } | Reason::Refused { .. } => Exit::Failed,
            Reason::Silent { .. } | Reason::Busy { .. } | Reason::Late { .. } => Exit::TryLater,
        }
    }
}
