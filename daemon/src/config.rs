//! What the daemon is set to: options over variables over the file over defaults.
//!
//! [`table`] has the settings, once; [`kinds`] says what each may be; [`arguments`] takes the command line, [`file`] the
//! file, [`describe`] tells all of it. Here they are put together. A configuration that is wrong in any part is none.

mod arguments;
mod describe;
mod field;
mod file;
pub mod kinds;
mod table;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use protocol::paths::{HOME_VARIABLE, Paths, SOCKET_VARIABLE};
use toml::Value as Toml;

pub use arguments::{CONFIG_VARIABLE, Given, Task};
pub use describe::answer;
use file::{Entry, Problem};
pub use table::Settings;
use table::{SETTINGS, Setting, Taken};

use crate::bounded;
use crate::socket;

/// What the program ends with where its configuration is wrong: another start would end alike. `EX_CONFIG` of sysexits.
pub const EXIT_CODE: u8 = 78;

/// The file's name in the home.
const FILE: &str = "config.toml";

/// Largest file that is read.
const LONGEST: u64 = 1 << 20;

/// A configuration without a fault.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of models and state.
    pub home: PathBuf,
    /// Where to listen, and whose idea that was.
    pub socket: socket::Place,
    /// The file, which need not be there.
    pub file: PathBuf,
    /// What holds.
    pub settings: Settings,
    /// Whether the file was there.
    is_written: bool,
    /// Where each value is from, in the order of the table.
    origins: Vec<Origin>,
    /// What the next start will take, by key, where that is not what holds.
    waiting: BTreeMap<&'static str, Toml>,
    /// What the process was started with.
    given: Given,
}

/// Where a value is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Default,
    Variable,
    Option,
    File { line: u32 },
}

/// What a new reading changes, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Holds from now on.
    pub changed: Vec<&'static str>,
    /// Will hold after the next start.
    pub needs_restart: Vec<&'static str>,
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
        /// Which option or variable.
        name: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// The file is there, or was named, and cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("{}: cannot be written: {source}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody said that the file may be replaced.
    #[error("{} is there already; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// Values that are none, and keys that are not known: a line for each, which names its place.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
}

/// Where the home, the socket and the file are.
#[derive(Debug, Clone)]
pub struct Places {
    home: PathBuf,
    socket: socket::Place,
    /// The file with settings.
    pub file: PathBuf,
    /// Whether somebody named the file, so that it has to be there.
    is_named: bool,
}

impl Places {
    /// As options and variables have them.
    pub fn of(given: &Given) -> Result<Self, ConfigError> {
        let named = |option, variable| given.option(option).or_else(|| given.variable(variable));
        let (home, socket) = (named("home", HOME_VARIABLE), named("socket", SOCKET_VARIABLE));
        let paths = Paths::resolve(|name| match name {
            HOME_VARIABLE => home.map(Into::into),
            SOCKET_VARIABLE => socket.map(Into::into),
            _ => None,
        });
        let paths = paths.ok_or(ConfigError::NoHome)?;
        let is_named = socket.is_some_and(|socket| !socket.is_empty());
        absolute("--home", &paths.home)?;
        absolute("--socket", &paths.socket)?;
        let socket = if is_named { socket::Place::Named(paths.socket) } else { socket::Place::Default(paths.socket) };
        let file = match (given.option("config"), given.variable(CONFIG_VARIABLE)) {
            // A path on a command line is one from where that is typed.
            (Some(file), _) => Some(std::path::absolute(file).unwrap_or_else(|_| file.into())),
            (None, Some(file)) => Some(PathBuf::from(file)),
            (None, None) => None,
        };
        if let Some(file) = &file {
            absolute(CONFIG_VARIABLE, file)?;
        }
        let is_named = file.is_some();
        let file = file.unwrap_or_else(|| paths.home.join(FILE));
        Ok(Self { home: paths.home, socket, file, is_named })
    }

    /// The file's text; `None` where there is no file and nobody named one.
    fn read(&self) -> Result<Option<String>, ConfigError> {
        let failed = |source| ConfigError::Unreadable { path: self.file.clone(), source };
        match bounded::read(&self.file, LONGEST) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes);
                text.map(Some).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
            }
            // A home that cannot be is told by whoever needs it.
            Err(error) if is_absent(&error) && !self.is_named => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

fn absolute(name: &'static str, path: &Path) -> Result<(), ConfigError> {
    if path.is_absolute() { Ok(()) } else { Err(ConfigError::Relative { name, path: path.to_path_buf() }) }
}

impl Config {
    /// Reads the file, and puts options and variables over it. All that is wrong is told at once.
    pub fn load(given: Given) -> Result<Self, ConfigError> {
        let places = Places::of(&given)?;
        let text = places.read()?;
        let mut settings = Settings::default();
        let mut wrong = Vec::new();
        let lines = match file::entries(text.as_deref().unwrap_or_default()) {
            Ok(entries) => take_file(&mut settings, &entries, &places.file, &mut wrong),
            Err(problem) => {
                wrong.push(at(&places.file, &problem));
                BTreeMap::new()
            }
        };
        let origin = |setting: &'static Setting| {
            let over = take_given(&mut settings, setting, &given, &mut wrong);
            over.or_else(|| lines.get(setting.key).map(|line| Origin::File { line: *line })).unwrap_or(Origin::Default)
        };
        let origins = SETTINGS.iter().map(origin).collect();
        if !wrong.is_empty() {
            return Err(ConfigError::Wrong(wrong));
        }
        let Places { home, socket, file, .. } = places;
        let is_written = text.is_some();
        Ok(Self { home, socket, file, settings, is_written, origins, waiting: BTreeMap::new(), given })
    }

    /// The same, as the file says now.
    pub fn again(&self) -> Result<Self, ConfigError> {
        Self::load(self.given.clone())
    }

    /// Takes over what may change while the daemon runs, and remembers what may not.
    pub fn renew(&mut self, new: &Self) -> Change {
        let mut change = Change::default();
        self.is_written = new.is_written;
        self.waiting.clear();
        for (place, setting) in SETTINGS.iter().enumerate() {
            let value = setting.field.get(&new.settings);
            if setting.field.get(&self.settings) == value {
                self.origins[place] = new.origins[place];
            } else if setting.taken == Taken::AtOnce {
                setting.field.copy(&new.settings, &mut self.settings);
                self.origins[place] = new.origins[place];
                change.changed.push(setting.key);
            } else {
                self.waiting.insert(setting.key, value);
                change.needs_restart.push(setting.key);
            }
        }
        change
    }
}

/// Takes what the file says, and tells the line of each setting.
fn take_file(
    settings: &mut Settings,
    entries: &[Entry],
    path: &Path,
    wrong: &mut Vec<String>,
) -> BTreeMap<&'static str, u32> {
    let mut lines = BTreeMap::new();
    for entry in entries {
        let problem = match SETTINGS.iter().find(|setting| setting.key == entry.key) {
            None => Problem { at: entry.key_at, text: file::unknown(&entry.key) },
            Some(setting)
                if entry.value.as_ref().is_none_or(|value| setting.field.set_toml(settings, value).is_err()) =>
            {
                let text = format!("{} is {}, but must be {}", setting.key, entry.written, setting.field.expected());
                Problem { at: entry.value_at, text }
            }
            Some(setting) => {
                lines.insert(setting.key, entry.key_at.line);
                continue;
            }
        };
        wrong.push(at(path, &problem));
    }
    lines
}

/// Takes the option of a setting, else its variable. Both are checked: a variable must not begin to fail when its option
/// is left out.
fn take_given(
    settings: &mut Settings,
    setting: &'static Setting,
    given: &Given,
    wrong: &mut Vec<String>,
) -> Option<Origin> {
    let mut take = |name: &str, value: Option<&OsStr>, origin| {
        let value = value?;
        if setting.field.set_os(settings, value).is_err() {
            let value = value.to_string_lossy();
            wrong.push(format!("{name} is {value:?}, but must be {}", setting.field.expected()));
        }
        Some(origin)
    };
    let variable = take(setting.variable, given.variable(setting.variable), Origin::Variable);
    let option = take(&format!("--{}", setting.option), given.option(setting.option), Origin::Option);
    option.or(variable)
}

fn at(path: &Path, Problem { at, text }: &Problem) -> String {
    format!("{}:{}:{}: {text}", path.display(), at.line, at.column)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
