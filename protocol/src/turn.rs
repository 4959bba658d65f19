//! Whose turn it is: what a request says of its urgency, and how long it may take.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest time that a request may wait or take, in milliseconds: a day.
pub const LONGEST_MS: u64 = 86_400_000;

/// Whose turn it is where not all can be served at once. Each full ten seconds of waiting raise it by one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When nothing else is to be done; it may be paused for somebody who waits.
    Background,
    /// As everybody.
    #[default]
    Normal,
    /// Somebody waits for it.
    Interactive,
}

impl Priority {
    /// All there are, the least urgent first.
    pub const ALL: [Self; 3] = [Self::Background, Self::Normal, Self::Interactive];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Normal => "normal",
            Self::Interactive => "interactive",
        }
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A time of a request as its field `name` says it, or what is wrong with it, in words.
pub fn time_of(name: &str, ms: Option<u64>) -> Result<Option<Duration>, String> {
    match ms {
        Some(ms) if !(1..=LONGEST_MS).contains(&ms) => {
            Err(format!("`{name}` is {ms}, but must lie in 1 to {LONGEST_MS}, which is a day"))
        }
        ms => Ok(ms.map(Duration::from_millis)),
    }
}
