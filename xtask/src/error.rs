//! The one error type of the tasks, and the exit code that each error gives.

use std::io;
use std::path::Path;

/// A result of a task.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that the task needs is not installed.
    #[error("{tool} is needed and was not found; install it with: {install}")]
    MissingTool {
        tool: &'static str,
        install: &'static str,
    },
    /// A program ran and failed; what it wrote is in `output` unless it went to the terminal.
    #[error("`{command}` failed{}{output}", if output.is_empty() { "" } else { ":\n" })]
    Command {
        command: String,
        code: Option<i32>,
        output: String,
    },
    /// A file or process could not be had.
    #[error("failed to {action}")]
    Io { action: String, source: io::Error },
    /// What was read is not what was expected, or the platform is not one that the task knows.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// Makes an [`Error::Io`] of a verb and the path it was about.
    pub fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let action = format!("{verb} {}", path.display());
        move |source| Self::Io { action, source }
    }

    /// A failed program's own code, so that CI sees what the stage gave; 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Command { code, .. } => code
                .and_then(|code| u8::try_from(code).ok())
                .filter(|&code| code != 0)
                .unwrap_or(1),
            _ => 1,
        }
    }
}

/// An error with its sources, on one line.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_gives_its_own_exit_code() {
        let failed = |code| {
            Error::Command {
                command: "x".into(),
                code,
                output: String::new(),
            }
            .exit_code()
        };
        assert_eq!(failed(Some(101)), 101);
        assert_eq!(failed(Some(0)), 1);
        assert_eq!(failed(None), 1);
    }
}
