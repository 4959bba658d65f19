//! What can fail, what to do next, and the one table of exit codes. Nothing is printed here.
//!
//! Called by [`crate::connection`] and [`crate::start`], which make these errors, and by `talkiectl`, which shows them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use protocol::error::Fault;
use protocol::{ErrorData, Kind, PROTOCOL_VERSION, Welcome};

use crate::service;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens on the socket.
    #[error("talkied is not running: nobody listens on {}", socket.display())]
    NotRunning {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The daemon was started and does not listen.
    #[error("talkied did not start: {reason}{}", indented(tail))]
    NotStarted {
        /// What was seen.
        reason: String,
        /// The last lines it wrote to `log`; empty when it wrote none.
        tail: String,
        /// Everything it wrote.
        log: PathBuf,
    },
    /// A file or the socket cannot be used.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What came over the socket is not the contract.
    #[error("the answer of talkied cannot be understood: {0}")]
    Protocol(String),
    /// The daemon speaks other versions of the contract.
    #[error("{}", versions(daemon))]
    Version {
        /// What it says of itself.
        daemon: Welcome,
    },
    /// The daemon took the connection and says nothing.
    #[error("talkied does not answer: nothing came for {} s", patience.as_secs_f32())]
    Silent {
        /// How long it was waited for.
        patience: Duration,
    },
    /// The request is longer than a message may be.
    #[error("the request has {bytes} bytes, but {} are the most", protocol::MAX_MESSAGE_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The daemon answered with an error, or a stream ended with `failed`.
    #[error("{message}")]
    Rpc {
        /// The code on the wire.
        code: i32,
        /// What the code means; `None` for codes of JSON-RPC itself and of newer daemons.
        kind: Option<Kind>,
        /// One sentence that names the thing and the way out.
        message: String,
        /// The numbers behind it.
        data: Option<Box<ErrorData>>,
    },
    /// The connection was closed in the middle.
    #[error("the connection to talkied was closed in the middle")]
    Lost,
    /// The service of the user's login.
    #[error(transparent)]
    Service(#[from] Box<service::Error>),
    /// Events came faster than they were taken, and some are gone.
    #[error("the answer came faster than it was read, and a part of it is lost")]
    Lagged,
}

/// Which of the two is older, by the numbers of the contract alone: those of the programs need not grow with them.
fn versions(daemon: &Welcome) -> String {
    let Welcome { version, protocol, oldest_protocol, pid } = daemon;
    let spoken =
        if protocol == oldest_protocol { protocol.to_string() } else { format!("{oldest_protocol} to {protocol}") };
    let older = if daemon.is_older_than(PROTOCOL_VERSION) { "talkied" } else { "talkiectl" };
    format!(
        "{older} is too old: talkied {version} (process {pid}) speaks version {spoken} of the wire, talkiectl {} version \
         {PROTOCOL_VERSION}",
        env!("CARGO_PKG_VERSION")
    )
}

fn indented(tail: &str) -> String {
    tail.lines().flat_map(|line| ["\n  | ", line]).collect()
}

impl From<service::Error> for Error {
    fn from(error: service::Error) -> Self {
        Self::Service(Box::new(error))
    }
}

impl Error {
    /// The error of a code, with the sentence and the numbers that came with it.
    pub fn rpc(code: i32, message: &str, data: Option<ErrorData>) -> Self {
        let kind = data.as_ref().map(|data| data.kind).or_else(|| Kind::of_code(code));
        let message = data.as_ref().map_or_else(|| message.to_owned(), |data| data.message.clone());
        Self::Rpc { code, kind, message, data: data.map(Box::new) }
    }

    /// The exit code it ends a program with.
    pub fn exit(&self) -> Exit {
        match self {
            // What is opened is the log of a start.
            Self::NotRunning { .. }
            | Self::NotStarted { .. }
            | Self::Silent { .. }
            | Self::Lost
            | Self::Io { action: "connect to" | "ping talkied at" | "open", .. } => Exit::Unreachable,
            Self::Io { .. } | Self::Protocol(_) | Self::Version { .. } => Exit::Failed,
            Self::TooLong { .. } => Exit::Usage,
            Self::Service(error) => error.exit(),
            Self::Lagged => Exit::TryLater,
            Self::Rpc { kind: Some(kind), .. } => Exit::of_kind(*kind),
            Self::Rpc { code, kind: None, .. } => Exit::of_code(*code),
        }
    }

    /// What to do next, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => {
                Some("start it with `talkied`, or run a command that does: generate, models, pull".into())
            }
            Self::NotStarted { log, .. } => Some(format!("its whole log is {}", log.display())),
            Self::Io { action: "connect to", source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("the socket belongs to someone else; every user runs a talkied of their own".into())
            }
            Self::Io { action: "run", source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("install talkied beside talkiectl, or on the PATH".into())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("`talkiectl doctor` says what is to be changed".into())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                Some("set TALKIE_SOCKET to a shorter path".into())
            }
            Self::Io { source, .. }
                if matches!(source.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull) =>
            {
                Some("make room there, or name a folder on another disk with TALKIE_HOME".into())
            }
            Self::Protocol(_) => {
                Some("check that the socket is talkied's and of this version: `talkiectl ping`".into())
            }
            Self::Version { daemon } if daemon.is_older_than(PROTOCOL_VERSION) => Some(UPGRADE_DAEMON.into()),
            Self::Version { .. } => Some("upgrade talkiectl to the version of talkied".into()),
            Self::Silent { .. } => {
                Some("`talkiectl doctor` looks at it; `talkiectl logs` shows what it did last".into())
            }
            Self::TooLong { .. } => Some("shorten the prompt".into()),
            Self::Lost => Some("`talkiectl status` tells whether talkied runs; its log says why it ended".into()),
            Self::Rpc { kind: Some(kind), data, .. } => Some(hint_of_kind(*kind, data.as_deref())),
            Self::Rpc { code: METHOD_NOT_FOUND, .. } => Some(UPGRADE_DAEMON.into()),
            Self::Service(error) => Some(error.hint.clone()),
            Self::Io { .. } | Self::Lagged | Self::Rpc { .. } => None,
        }
    }
}

/// What to do about a daemon that is older than its client.
pub const UPGRADE_DAEMON: &str =
    "upgrade talkied; where that is done, the old one still runs: `talkiectl stop`, then run it again";

pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
const TOO_MANY_SUBSCRIPTIONS: i32 = -32006;
const MESSAGE_TOO_LONG: i32 = -32007;
const BATCH_TOO_LONG: i32 = -32010;

fn hint_of_kind(kind: Kind, data: Option<&ErrorData>) -> String {
    let hint = match kind {
        Kind::InvalidParams => "`talkiectl help COMMAND` says what is taken",
        Kind::ModelNotFound => "`talkiectl models` lists what is installed; `talkiectl pull MODEL` downloads one",
        Kind::ModelBroken => {
            "`talkiectl pull MODEL` mends a model from the hub; `talkiectl models` shows what is wrong"
        }
        Kind::NotSupported => "choose another model: `talkiectl models`",
        Kind::ContextOverflow => return overflow(data),
        Kind::ImportFailed => "check that it is a whole GGUF file, or a folder with a whole model",
        Kind::ModelInUse => "`talkiectl ps` lists the requests that use it; wait, or end them with `talkiectl cancel`",
        Kind::Cancelled => "send it again if it is still wanted",
        Kind::PullNotFound => "`talkiectl pulls` lists the downloads",
        Kind::RepositoryNotFound => "`talkiectl catalogue` lists models that are known to work",
        Kind::AccessDenied => {
            "accept its terms on its page, and give talkied a token: `hf auth login` is seen at once, HF_TOKEN where talkied is started"
        }
        Kind::DiskFull => "make room: `talkiectl du` shows what models take, `talkiectl rm MODEL` removes one",
        Kind::StorageFailed => "check the folder's permissions and whether its disk is there",
        Kind::DownloadDamaged => "run it again; if it stays so, the copy on the hub is damaged",
        Kind::ModelExists => "give it another name with --model",
        Kind::ProviderNotFound => "`talkiectl providers` lists them; `talkiectl providers set NAME --url URL` adds one",
        Kind::NotConfigured => "`talkiectl providers set-key NAME` keeps a key for it",
        Kind::KeyRefused => "`talkiectl providers set-key NAME` keeps another key",
        Kind::NotAllowed => "ask a local model, or end local_only where the daemon's configuration sets it",
        Kind::ProviderUnavailable => {
            "`talkiectl providers test NAME` asks it again; --fallback asks another in its place"
        }
        Kind::ConfigurationError => "put the configuration right, then `talkiectl stop` and run it again",
        Kind::GenerationFailed | Kind::Internal => "the log of talkied says more",
        Kind::Busy | Kind::HubUnavailable | Kind::QuotaExhausted | Kind::MemoryPressure => return try_again(data),
        Kind::ModelTooLarge => {
            "`talkiectl catalogue --fits` lists models that fit; `talkiectl ps` shows what is in memory"
        }
        Kind::WorkflowNotFound => "`talkiectl workflow ls` lists them",
        Kind::WorkflowInvalid => "`talkiectl workflow check NAME` shows everything that is wrong with it",
        Kind::RunNotFound => "`talkiectl workflow runs` lists them",
        Kind::Timeout => "run it again, or give it more time with --queue-timeout and --deadline",
        Kind::EngineLost => "run it again: the engine is started anew",
        Kind::ShuttingDown => "run it again when talkied has ended",
        Kind::SlowConsumer => "run it again and read the output without long pauses",
    };
    hint.into()
}

fn overflow(data: Option<&ErrorData>) -> String {
    match data.map(|data| (data.needed_tokens, data.context_length)) {
        Some((Some(needed), Some(context))) => {
            format!("shorten the prompt or lower --max-tokens, together by {}", needed.saturating_sub(context))
        }
        _ => "shorten the prompt or lower --max-tokens".into(),
    }
}

fn try_again(data: Option<&ErrorData>) -> String {
    match data.and_then(|data| data.retry_after_ms) {
        Some(ms) => format!("try again in {} s", ms.div_ceil(1000)),
        None => "try again in a moment".into(),
    }
}

/// How `talkiectl` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// The daemon or the machine failed.
    Failed = 1,
    /// The command line is wrong, or the same request fails again.
    Usage = 2,
    /// No daemon.
    Unreachable = 3,
    /// No such model, request, download or provider.
    NotFound = 4,
    /// The same request may succeed later.
    TryLater = 5,
    /// `doctor` found what is not as it should be.
    Unwell = 6,
    /// Ended by Ctrl-C, or cancelled by another client.
    Interrupted = 130,
}

impl Exit {
    /// Every exit code with its meaning, as `--help` prints it.
    pub const TABLE: [(Self, &str); 8] = [
        (Self::Ok, "done"),
        (Self::Failed, "the daemon or the machine failed"),
        (Self::Usage, "wrong usage, or a request that cannot succeed"),
        (Self::Unreachable, "talkied is not running, or was lost"),
        (Self::NotFound, "no such model, request, download, provider, workflow or run"),
        (Self::TryLater, "try again later"),
        (Self::Unwell, "doctor or a check found something to mend"),
        (Self::Interrupted, "interrupted or cancelled"),
    ];

    /// The number the process ends with.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit code of an error kind.
    pub const fn of_kind(kind: Kind) -> Self {
        match (kind, kind.fault()) {
            (
                Kind::ModelNotFound
                | Kind::PullNotFound
                | Kind::RepositoryNotFound
                | Kind::ProviderNotFound
                | Kind::WorkflowNotFound
                | Kind::RunNotFound,
                _,
            ) => Self::NotFound,
            (Kind::Cancelled, _) => Self::Interrupted,
            (_, Fault::Caller) => Self::Usage,
            (_, Fault::Ours) => Self::Failed,
            (_, Fault::TryLater) => Self::TryLater,
        }
    }

    /// The exit code of an error code without a kind: by JSON-RPC's meaning, or by the range, which says who can
    /// mend it.
    pub const fn of_code(code: i32) -> Self {
        match code {
            MESSAGE_TOO_LONG | BATCH_TOO_LONG | 1000..=1999 => Self::Usage,
            TOO_MANY_SUBSCRIPTIONS | 3000..=3999 => Self::TryLater,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
