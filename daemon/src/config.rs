//! What the daemon is started with: command line over environment over defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use protocol::KeepAlive;
use protocol::paths::Paths;

use crate::socket::Place;

/// Name of the MLX engine's program, which stands beside the daemon's.
const ENGINE: &str = "talkied-mlx";

/// Keeps language models warm and lends them to every app of this user over one Unix socket.
#[derive(Debug, Clone, Parser)]
#[command(name = "talkied", version, about)]
pub struct Arguments {
    /// Socket to listen at [default: in the user's runtime directory, see `talkiectl status`]
    #[arg(long, env = "TALKIE_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Folder of models and state [default: Talkie's folder in the user's data directory]
    #[arg(long, env = "TALKIE_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// How long a model stays warm after its last request: seconds, 5m, 2h or forever
    #[arg(long, env = "TALKIE_KEEP_ALIVE", value_name = "TIME", default_value_t)]
    keep_alive: KeepAlive,
    /// Most requests that may wait
    #[arg(long, env = "TALKIE_QUEUE", value_name = "N", default_value_t = 512)]
    queue: usize,
    /// Seconds that running requests get when the daemon is to end
    #[arg(long, env = "TALKIE_DRAIN", value_name = "SECONDS", default_value_t = 10)]
    drain: u64,
    /// Program of the MLX engine [default: talkied-mlx beside this program]
    #[arg(long, env = "TALKIE_ENGINE", value_name = "PROGRAM")]
    engine: Option<PathBuf>,
}

/// The same, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of models and state.
    pub home: PathBuf,
    /// Where to listen, and whose idea that was.
    pub socket: Place,
    /// How long a model stays when no request says otherwise.
    pub keep_alive: KeepAlive,
    /// Requests that may wait.
    pub queue: usize,
    /// For running requests at the end.
    pub drain: Duration,
    /// Program of the MLX engine.
    pub engine: PathBuf,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither a home directory nor `TALKIE_HOME`.
    #[error("this user has no home directory; name a folder with --home or TALKIE_HOME")]
    NoHome,
    /// A relative path would mean another place for every client.
    #[error("{name} is {path}, but must be an absolute path")]
    Relative {
        /// Which setting.
        name: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// The daemon cannot tell where its own program is.
    #[error("failed to find this program's own folder: {0}; name the engine with --engine")]
    NoProgram(std::io::Error),
}

impl Arguments {
    /// Fills in the defaults.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let (home, socket) = (self.home, self.socket);
        let named = socket.is_some();
        let paths = Paths::resolve(|name| match name {
            protocol::paths::HOME_VARIABLE => home.clone().map(Into::into),
            protocol::paths::SOCKET_VARIABLE => socket.clone().map(Into::into),
            _ => None,
        });
        let paths = paths.ok_or(ConfigError::NoHome)?;
        for (name, path) in [("--home", &paths.home), ("--socket", &paths.socket)] {
            if !path.is_absolute() {
                return Err(ConfigError::Relative { name, path: path.clone() });
            }
        }
        let engine = match self.engine {
            Some(engine) => engine,
            None => std::env::current_exe().map_err(ConfigError::NoProgram)?.with_file_name(ENGINE),
        };
        let socket = if named { Place::Named(paths.socket) } else { Place::Default(paths.socket) };
        let drain = Duration::from_secs(self.drain);
        Ok(Config { home: paths.home, socket, keep_alive: self.keep_alive, queue: self.queue, drain, engine })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
