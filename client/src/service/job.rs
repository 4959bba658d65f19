//! What the manager is told to run: the program, its environment, its socket and the folders that must be there.
//!
//! launchd and systemd start the daemon without the environment of any shell, so that what the user has set for it is
//! written into their files. Only variables of talkied are: `TALKIE_…`, and of those neither keys, for the files are
//! no place for secrets, nor what tests use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use protocol::paths::{HOME_VARIABLE, Paths, SOCKET_VARIABLE};

use super::error::Error;

/// What the names of talkied's variables begin with.
const OURS: &str = "TALKIE_";

/// Those that are not for a file.
const NOT_KEPT: [&str; 2] = ["TALKIE_KEY_", "TALKIE_TEST_"];

/// Moves the default home on Linux, which the manager may not know.
const DATA_VARIABLE: &str = "XDG_DATA_HOME";

/// What the manager is told to run. All paths are absolute and can be written into its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The daemon's program.
    pub program: PathBuf,
    /// Where the manager listens.
    pub socket: PathBuf,
    /// The daemon's home.
    pub home: PathBuf,
    /// Sorted by name.
    pub environment: Vec<(String, String)>,
}

/// What an installed file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The program.
    pub program: PathBuf,
    /// The socket.
    pub socket: PathBuf,
}

/// The variables of a shell.
pub type Variables = Vec<(OsString, OsString)>;

impl Job {
    /// The job of these places, with what is set for it in these variables.
    pub fn new(program: PathBuf, paths: &Paths, socket: Socket, variables: Variables) -> Result<Self, Error> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let (home, socket_path) = (absolute(&paths.home), absolute(&paths.socket));
        for path in [&program, &home, &socket_path] {
            text(path)?;
        }
        let is_set = |name: &str| variables.iter().any(|(known, value)| known == name && !value.is_empty());
        let moved =
            socket == Socket::Named || [HOME_VARIABLE, SOCKET_VARIABLE, DATA_VARIABLE].iter().any(|name| is_set(name));
        let mut environment = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| is_kept(name)).map(str::to_owned) else { continue };
            if value.is_empty() {
                continue;
            }
            let value = value.into_string().ok().filter(|value| is_writable(value));
            environment.push((name.clone(), value.ok_or_else(|| Error::unwritable_variable(&name))?));
        }
        if moved {
            environment.push((HOME_VARIABLE.into(), text(&home)?.into()));
            environment.push((SOCKET_VARIABLE.into(), text(&socket_path)?.into()));
        }
        environment.sort();
        Ok(Self { program, socket: socket_path, home, environment })
    }

    /// Where what is said outside of the daemon's own log goes.
    pub fn log(&self) -> PathBuf {
        self.home.join("logs").join("launchd.log")
    }

    /// Folders that must be there, for their user alone.
    pub fn folders(&self) -> Vec<PathBuf> {
        let socket = self.socket.parent().map(Path::to_path_buf);
        [Some(self.home.clone()), Some(self.home.join("logs")), socket].into_iter().flatten().collect()
    }
}

/// Whose idea the socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The environment's, or the default.
    Default,
    /// The command line's.
    Named,
}

fn is_kept(name: &str) -> bool {
    let is_valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_place = name == HOME_VARIABLE || name == SOCKET_VARIABLE;
    is_valid && name.starts_with(OURS) && !is_place && !NOT_KEPT.iter().any(|prefix| name.starts_with(prefix))
}

/// A path as a file of the manager can say it.
pub(super) fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().filter(|text| is_writable(text)).ok_or_else(|| Error::unwritable_path(path))
}

/// Neither format has a way to write every control character, and no path or setting needs one.
fn is_writable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
#[path = "job_tests.rs"]
pub(crate) mod tests;
