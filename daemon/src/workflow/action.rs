//! What a step of a workflow does, a file for each kind: plain functions of values that are already rendered.
//!
//! Nothing here knows files of workflows, runs, logs or settings; the runner calls it. Whatever a step gives or says is
//! free of the secrets that it was given: [`secret::Hidden`] takes them out.

pub mod llm;
pub mod notify;
mod program;
pub mod save_file;
pub mod secret;
pub mod shell;
pub mod webhook;

use std::time::Duration;

/// Most that a step gives, in bytes.
pub const LONGEST_OUTPUT: usize = 1 << 20;

/// Why a step did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another try of the same would fail too.
    #[error("{0}")]
    Final(String),
    /// Another try may go well.
    #[error("{words}")]
    MayPass {
        /// What went wrong.
        words: String,
        /// How long to wait before it, where whoever failed says so.
        after: Option<Duration>,
    },
    /// The step was told to end.
    #[error("it was cancelled")]
    Cancelled,
}

impl Failure {
    fn last(words: impl Into<String>) -> Self {
        Self::Final(words.into())
    }

    fn may_pass(words: impl Into<String>) -> Self {
        Self::MayPass { words: words.into(), after: None }
    }
}
