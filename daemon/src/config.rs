//! What the daemon is started with: command line over environment over defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use clap::builder::BoolishValueParser;
use protocol::paths::Paths;
use protocol::{KeepAlive, ModelSource};

use crate::hugging_face;
use crate::library::Place;
use crate::socket;

/// Names of the engines' programs, which stand beside the daemon's.
const ENGINE: &str = "talkied-mlx";
const CANDLE: &str = "talkied-candle";

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
    /// More folders with models, used where they are; several are separated by ':'
    #[arg(long = "models", env = "TALKIE_MODELS", value_name = "DIR", value_delimiter = ':')]
    models: Vec<PathBuf>,
    /// Cache of the Hugging Face libraries, whose models are used where they are; 'none' for no such cache
    /// [default: ~/.cache/huggingface/hub]
    #[arg(long, env = "HF_HUB_CACHE", value_name = "DIR")]
    hf_cache: Option<PathBuf>,
    /// Address of the model hub
    #[arg(long, env = "HF_ENDPOINT", value_name = "URL", default_value = "https://huggingface.co")]
    hub: String,
    /// Most bytes per second that downloads take together, as 500k or 20M [default: no limit]
    #[arg(long, env = "TALKIE_PULL_LIMIT", value_name = "BYTES", value_parser = bytes)]
    pull_limit: Option<u64>,
    /// Send no request to a server that is not on this machine, whatever a request or providers.toml says
    #[arg(long, env = "TALKIE_LOCAL_ONLY", value_parser = BoolishValueParser::new())]
    local_only: bool,
    /// Keep keys of servers in files, and not in the system's keychain
    #[arg(long, env = "TALKIE_NO_KEYCHAIN", value_parser = BoolishValueParser::new())]
    no_keychain: bool,
    /// Program of the MLX engine [default: talkied-mlx beside this program]
    #[arg(long, env = "TALKIE_ENGINE", value_name = "PROGRAM")]
    engine: Option<PathBuf>,
    /// Program of the Candle engine [default: talkied-candle beside this program]
    #[arg(long, env = "TALKIE_CANDLE", value_name = "PROGRAM")]
    candle: Option<PathBuf>,
}

/// The same, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of models and state.
    pub home: PathBuf,
    /// Where to listen, and whose idea that was.
    pub socket: socket::Place,
    /// How long a model stays when no request says otherwise.
    pub keep_alive: KeepAlive,
    /// Requests that may wait.
    pub queue: usize,
    /// For running requests at the end.
    pub drain: Duration,
    /// Other places that have models, in the order in which they are looked at.
    pub places: Vec<Place>,
    /// Address of the model hub.
    pub hub: String,
    /// Most bytes per second that downloads take together.
    pub pull_limit: Option<u64>,
    /// Whether no request is sent to a server that is not on this machine.
    pub local_only: bool,
    /// Whether keys may be kept in the system's keychain.
    pub keychain: bool,
    /// Program of the MLX engine.
    pub engine: PathBuf,
    /// Program of the Candle engine.
    pub candle: PathBuf,
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
    #[error("failed to find this program's own folder: {0}; name the engines with --engine and --candle")]
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
        let engine = program(self.engine, ENGINE)?;
        let candle = program(self.candle, CANDLE)?;
        let socket = if named { socket::Place::Named(paths.socket) } else { socket::Place::Default(paths.socket) };
        let mut places = Vec::new();
        for root in self.models.into_iter().filter(|root| !root.as_os_str().is_empty()) {
            if !root.is_absolute() {
                return Err(ConfigError::Relative { name: "--models", path: root });
            }
            places.push(Place { root, source: ModelSource::Folder });
        }
        let given = self.hf_cache.filter(|cache| !cache.as_os_str().is_empty());
        let cache = given.or_else(|| Some(hugging_face::home()?.join("hub")).filter(|cache| cache.is_absolute()));
        if let Some(root) = cache.filter(|cache| *cache != Path::new("none")) {
            if !root.is_absolute() {
                return Err(ConfigError::Relative { name: "--hf-cache", path: root });
            }
            places.push(Place { root, source: ModelSource::HuggingFaceCache });
        }
        let drain = Duration::from_secs(self.drain);
        Ok(Config {
            home: paths.home,
            socket,
            keep_alive: self.keep_alive,
            queue: self.queue,
            drain,
            places,
            hub: self.hub,
            pull_limit: self.pull_limit,
            local_only: self.local_only,
            keychain: !self.no_keychain,
            engine,
            candle,
        })
    }
}

/// The program that is named, or the one that stands beside this one.
fn program(named: Option<PathBuf>, name: &str) -> Result<PathBuf, ConfigError> {
    match named {
        Some(program) => Ok(program),
        None => Ok(std::env::current_exe().map_err(ConfigError::NoProgram)?.with_file_name(name)),
    }
}

/// A number of bytes, with k, M or G for thousands of them.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number: Option<u64> = number.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(unit)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "give a number of bytes, such as 500k or 20M".into())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
