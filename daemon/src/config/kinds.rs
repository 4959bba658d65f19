//! What a setting may be: how it is written in a file, in a variable and after an option, and what editors are told.
//!
//! Pure: nothing is looked up here. Each kind says what it expects in words that complete "must be".

mod drafts;
mod memory;
mod paths;
mod programs;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use protocol::{KeepAlive, ModelId};
use serde_json::{Value as Json, json};
use toml::Value as Toml;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

pub use drafts::DraftModels;
pub use memory::{ModelMemory, PrefixCache};

/// One kind of value.
pub trait Kind: Sized + Clone {
    /// What it must be.
    const EXPECTED: &'static str;
    /// What stands between the entries of a list in a variable or after an option; `None` for what is no list.
    const SEPARATOR: Option<&'static str> = None;

    /// Of a variable, or of what follows an option.
    fn of_os(text: &OsStr) -> Option<Self> {
        Self::of_text(text.to_str()?)
    }
    /// Of a text.
    fn of_text(text: &str) -> Option<Self>;
    /// Of a file.
    fn of_toml(value: &Toml) -> Option<Self>;
    /// As a file has it.
    fn to_toml(&self) -> Toml;
    /// What editors are told.
    fn schema() -> Json;
}

/// When the daemon ends that nobody uses; `None` for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleExit(pub Option<Duration>);

/// Bytes per second of all downloads; `None` for as many as come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullLimit(pub Option<u64>);

/// An address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub String);

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(pub String);

/// A folder, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache(pub Option<PathBuf>);

/// An engine's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(pub PathBuf);

/// Programs that workflows may run; `None` for none at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs(pub Option<Vec<String>>);

/// Whether keys may be kept in the system's keychain. Variable and option say the opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keychain(pub bool);

/// Requests that may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue(pub usize);

/// Rows that an engine runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch(pub u32);

/// A model to be loaded at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preload {
    /// Which.
    pub model: ModelId,
    /// How long it stays, where that is not as usual.
    pub keep_alive: Option<KeepAlive>,
}

/// Most requests that may be let wait.
const MOST_WAITING: usize = 100_000;

/// Most rows that an engine may run at once.
const MOST_ROWS: u32 = 256;

/// A time in words is this.
const TIME: &str = "^[0-9]+[smh]?$";

impl Kind for bool {
    const EXPECTED: &'static str = "true or false";

    fn of_text(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "t" | "y" => Some(true),
            "false" | "no" | "off" | "0" | "f" | "n" => Some(false),
            _ => None,
        }
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        value.as_bool()
    }

    fn to_toml(&self) -> Toml {
        Toml::Boolean(*self)
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Kind for Keychain {
    const EXPECTED: &'static str = bool::EXPECTED;

    fn of_text(text: &str) -> Option<Self> {
        bool::of_text(text).map(|without| Self(!without))
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        value.as_bool().map(Self)
    }

    fn to_toml(&self) -> Toml {
        Toml::Boolean(self.0)
    }

    fn schema() -> Json {
        bool::schema()
    }
}

impl Kind for Queue {
    const EXPECTED: &'static str = "a number from 1 to 100000";

    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|waiting| (1..=MOST_WAITING).contains(waiting)).map(Self)
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(&value.as_integer()?.to_string())
    }

    fn to_toml(&self) -> Toml {
        Toml::Integer(self.0 as i64)
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": MOST_WAITING })
    }
}

impl Kind for Batch {
    const EXPECTED: &'static str = "a number from 1 to 256";

    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|rows| (1..=MOST_ROWS).contains(rows)).map(Self)
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(&value.as_integer()?.to_string())
    }

    fn to_toml(&self) -> Toml {
        Toml::Integer(self.0.into())
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": MOST_ROWS })
    }
}

impl Kind for KeepAlive {
    const EXPECTED: &'static str = "seconds, a time such as \"90s\", \"5m\" or \"2h\" up to a year, or \"forever\"";

    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(&time_in(value)?)
    }

    fn to_toml(&self) -> Toml {
        match self {
            Self::For(time) => of_time(*time),
            Self::Forever => "forever".into(),
        }
    }

    fn schema() -> Json {
        json!({ "oneOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^(forever|[0-9]+[smh]?)$" },
        ] })
    }
}

impl Kind for Duration {
    const EXPECTED: &'static str = "seconds, or a time such as \"10s\" or \"5m\" up to a year";

    fn of_text(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(KeepAlive::For(time)) => Some(time),
            _ => None,
        }
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(&time_in(value)?)
    }

    fn to_toml(&self) -> Toml {
        of_time(*self)
    }

    fn schema() -> Json {
        json!({ "oneOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": TIME }] })
    }
}

impl Kind for IdleExit {
    const EXPECTED: &'static str = "seconds above 0, a time such as \"10m\" up to a year, or \"never\"";

    fn of_text(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self(None)),
            _ => Duration::of_text(text).filter(|time| !time.is_zero()).map(|time| Self(Some(time))),
        }
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(&time_in(value)?)
    }

    fn to_toml(&self) -> Toml {
        self.0.map_or("never".into(), of_time)
    }

    fn schema() -> Json {
        json!({ "oneOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^(never|[0-9]+[smh]?)$" },
        ] })
    }
}

impl Kind for PullLimit {
    const EXPECTED: &'static str = "a number of bytes, such as 500k or 20M, or none";

    fn of_text(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self(None));
        }
        bytes(text).map(|bytes| Self(Some(bytes)))
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(&time_in(value)?)
    }

    fn to_toml(&self) -> Toml {
        self.0.map_or("none".into(), |bytes| Toml::Integer(bytes as i64))
    }

    fn schema() -> Json {
        json!({ "oneOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^(none|[0-9]+[kKMG]?)$" },
        ] })
    }
}

impl Kind for Address {
    const EXPECTED: &'static str = "an address that begins with http:// or https://";

    fn of_text(text: &str) -> Option<Self> {
        let address = reqwest::Url::parse(text).ok()?;
        let is_askable = matches!(address.scheme(), "http" | "https") && address.host_str().is_some();
        is_askable.then(|| Self(text.to_owned()))
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(value.as_str()?)
    }

    fn to_toml(&self) -> Toml {
        self.0.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^https?://." })
    }
}

impl Kind for LogFilter {
    const EXPECTED: &'static str = "error, warn, info, debug, trace or off, or several of these for parts of the program, \
                                    as \"info,talkied::pull=debug\"";

    fn of_text(text: &str) -> Option<Self> {
        // A bare word would be taken for the name of a part, and everything else would fall silent.
        let is_level = |part: &str| part.contains(['=', '[']) || part.trim().parse::<LevelFilter>().is_ok();
        let holds = !text.is_empty() && text.split(',').all(is_level) && EnvFilter::builder().parse(text).is_ok();
        holds.then(|| Self(text.to_owned()))
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(value.as_str()?)
    }

    fn to_toml(&self) -> Toml {
        self.0.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["error", "warn", "info", "debug", "info,talkied::pull=debug"] })
    }
}

/// A number of bytes above 0, in thousands or more where a letter says so.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 1000),
        (at, 'M') => (&text[..at], 1_000_000),
        (at, 'G') => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(unit)?;
    // What a TOML file can hold.
    (1..=i64::MAX as u64).contains(&bytes).then_some(bytes)
}

/// A number or a text, as a text.
fn time_in(value: &Toml) -> Option<String> {
    match value {
        Toml::Integer(number) => Some(number.to_string()),
        Toml::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// In the largest unit that has no rest.
fn of_time(time: Duration) -> Toml {
    let text = match time.as_secs() {
        0 => "0s".into(),
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    };
    text.into()
}
