//! Where things are: the home, the socket, the models. Nothing is created or opened here.
//!
//! | | macOS | elsewhere |
//! |---|---|---|
//! | home | `~/Library/Application Support/Talkie` | `$XDG_DATA_HOME/talkie`, `~/.local/share/talkie` |
//! | socket | `<home>/run/talkied.sock` | `$XDG_RUNTIME_DIR/talkied/talkied.sock`, else `<home>/run/talkied.sock` |
//! | models | `<home>/Models/MLX` | the same |
//!
//! `TALKIE_HOME` moves all of it, `TALKIE_SOCKET` the socket alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use directories::{BaseDirs, ProjectDirs};

/// Moves everything.
pub const HOME_VARIABLE: &str = "TALKIE_HOME";

/// Moves the socket.
pub const SOCKET_VARIABLE: &str = "TALKIE_SOCKET";

/// Longest path a socket can have, in bytes, without the closing zero.
pub const MAX_SOCKET_PATH: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// The places of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Holds everything that lasts.
    pub home: PathBuf,
    /// Where the daemon listens.
    pub socket: PathBuf,
}

impl Paths {
    /// The places that the environment names; `None` when the user has no home directory.
    pub fn from_environment() -> Option<Self> {
        Self::resolve(|name| std::env::var_os(name))
    }

    /// The places for given variables. An empty variable counts as absent.
    pub fn resolve(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let named = path(HOME_VARIABLE);
        let runtime = BaseDirs::new().and_then(|dirs| dirs.runtime_dir().map(Path::to_path_buf));
        let runtime = if named.is_none() { runtime } else { None };
        let home = named.or_else(|| Some(ProjectDirs::from("", "", "Talkie")?.data_dir().to_path_buf()))?;
        let socket = path(SOCKET_VARIABLE).unwrap_or_else(|| match runtime {
            Some(runtime) => runtime.join("talkied").join("talkied.sock"),
            None => home.join("run").join("talkied.sock"),
        });
        Some(Self { home, socket })
    }

    /// Where models of the MLX engine are.
    pub fn models(&self) -> PathBuf {
        self.home.join("Models").join("MLX")
    }
}
