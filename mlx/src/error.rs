//! Why something failed in here, and how it is told to the daemon.

use engine::convert::{Failed, FailedKind};
use engine::grammar::ConstraintError;
use engine::message::{Failure, FailureKind};
use mlx_rs::error::Exception;

/// What can go wrong. Texts fit after "failed to …: ".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model's files are missing, damaged or contradict each other.
    #[error("{0}")]
    Broken(String),
    /// The model is sound, but not for this engine.
    #[error("{0}")]
    NotSupported(String),
    /// A sequence cannot obey its grammar.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The files of a conversion cannot be written.
    #[error("{0}")]
    Write(String),
    /// A conversion was told to end.
    #[error("it was cancelled")]
    Cancelled,
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
    /// MLX refused an operation. Its words only: the place in `mlx-rs` says nothing to a reader of the daemon's log.
    #[error("mlx: {}", .0.what())]
    Mlx(#[from] Exception),
}

impl Error {
    /// That what a model computed is no number.
    pub fn nan() -> Self {
        let words = "the model computed NaN: its weights are damaged, or too large for their type; download it again";
        Self::Broken(words.into())
    }
}

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Broken(_) => FailureKind::ModelBroken,
            Error::NotSupported(_) => FailureKind::NotSupported,
            Error::Constraint(error) => return error.into(),
            Error::Write(_) | Error::Cancelled | Error::Internal(_) | Error::Mlx(_) => FailureKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Broken(_) => FailedKind::ModelBroken,
            Error::NotSupported(_) => FailedKind::NotSupported,
            Error::Write(_) => FailedKind::Write,
            Error::Cancelled => FailedKind::Cancelled,
            Error::Constraint(_) | Error::Internal(_) | Error::Mlx(_) => FailedKind::Internal,
        };
        Self { kind, message: error.to_string() }
    }
}
