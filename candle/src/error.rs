//! Why something failed in here, and how it is told to the daemon.

use engine::grammar::ConstraintError;
use engine::message::{Failure, FailureKind};

/// What can go wrong. Texts fit after "failed to …: ".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model's files are missing, damaged or contradict each other.
    #[error("{0}")]
    Broken(String),
    /// The model or the submission is sound, but not for this engine.
    #[error("{0}")]
    NotSupported(String),
    /// A sequence cannot obey its grammar.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
    /// Candle refused an operation.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Broken(_) => FailureKind::ModelBroken,
            Error::NotSupported(_) => FailureKind::NotSupported,
            Error::Constraint(error) => return error.into(),
            Error::Internal(_) | Error::Candle(_) => FailureKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
