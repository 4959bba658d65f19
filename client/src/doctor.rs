//! What keeps talkied from working, and the command that mends each of it. Nothing is changed here.
//!
//! First everything is asked that must be waited for ([`patient`]), then each of [`CHECKS`] looks at the answers and at
//! the disk. All of it works without a daemon, with one that hangs, and without a home. Called by the command `doctor`.

mod config;
mod crashes;
mod daemon;
mod engines;
mod files;
mod home;
mod keys;
mod logs;
mod memory;
mod models;
mod patient;
mod pulls;
mod service;
mod socket;

use serde::Serialize;

pub use crashes::clear;
pub use patient::Patient;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It is as it should be.
    Ok,
    /// It works, but not as well as it could, or not for long.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check that found it.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is so.
    pub what: String,
    /// The command that mends it. A word in capitals is for the user to choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Everything that was found.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Whether all is as it should be.
    pub healthy: bool,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

/// The release of this client.
const THIS: &str = env!("CARGO_PKG_VERSION");

/// What a check has to say.
type Said = Vec<SaidOne>;

/// One thing of it: how bad, what, and the command that mends it.
type SaidOne = (Severity, String, Option<String>);

/// Looks at one side of things.
type Check = fn(&Patient) -> Said;

/// All checks, in the order in which one thing needs another.
const CHECKS: [(&str, Check); 12] = [
    ("home", home::check),
    ("config", config::check),
    ("service", service::check),
    ("socket", socket::check),
    ("daemon", daemon::check),
    ("engines", engines::check),
    ("models", models::check),
    ("memory", memory::check),
    ("pulls", pulls::check),
    ("keys", keys::check),
    ("crashes", crashes::check),
    ("logs", logs::check),
];

/// Does all checks.
pub fn examine(patient: &Patient) -> Findings {
    let said = CHECKS.iter().flat_map(|(check, look)| {
        look(patient).into_iter().map(|(severity, what, fix)| Finding { check, severity, what, fix })
    });
    let findings: Vec<Finding> = said.collect();
    Findings { healthy: findings.iter().all(|finding| finding.severity == Severity::Ok), findings }
}

fn fine(what: impl Into<String>) -> SaidOne {
    (Severity::Ok, what.into(), None)
}

fn warning(what: impl Into<String>, fix: impl Into<String>) -> SaidOne {
    (Severity::Warning, what.into(), Some(fix.into()))
}

fn problem(what: impl Into<String>, fix: impl Into<String>) -> SaidOne {
    (Severity::Problem, what.into(), Some(fix.into()))
}

/// A word as a shell takes it.
fn quoted(word: impl AsRef<std::path::Path>) -> String {
    let word = word.as_ref().to_string_lossy().into_owned();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
