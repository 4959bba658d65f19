//! What can go wrong, as a caller branches on it.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

/// Longest words of a server that are told, in characters.
const LONGEST: usize = 300;

/// Why there is no answer, or not all of it. Words of servers are cut short and never have the key in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server does not take the key, or wants one.
    #[error("it does not take the key: {0}")]
    KeyRefused(String),
    /// The user has asked too much for now, or has nothing left to pay with.
    #[error("it has had enough requests for now: {words}")]
    QuotaExhausted {
        /// When to ask again, where it says.
        retry_after: Option<Duration>,
        /// What it says.
        words: String,
    },
    /// The server does not know the model.
    #[error("it does not know the model: {0}")]
    ModelNotFound(String),
    /// The server does not take the request.
    #[error("it does not take the request: {0}")]
    Invalid(String),
    /// The server could not do what is asked, so it was not asked.
    #[error("{0}")]
    NotSupported(String),
    /// There is no connection.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The server failed.
    #[error("it failed: {0}")]
    Failed(String),
    /// The server sent nothing for too long.
    #[error("it sent nothing for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The answer broke off.
    #[error("its answer broke off: {0}")]
    Interrupted(String),
    /// What came is not what the API says.
    #[error("it sent what is no answer: {0}")]
    Malformed(String),
}

/// A server's words: one line, cut short, without the key.
pub(crate) fn told(text: &str, key: Option<&SecretString>) -> String {
    let text = match key.map(ExposeSecret::expose_secret).filter(|key| !key.is_empty()) {
        Some(key) => text.replace(key, "…"),
        None => text.to_owned(),
    };
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= LONGEST {
        return words;
    }
    words.chars().take(LONGEST).chain(['…']).collect()
}
