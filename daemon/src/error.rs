//! The one table from the errors of each stage to what the wire says.

use std::error::Error;

use protocol::{ErrorData, Kind};

use crate::library::{ImportError, LibraryError};
use crate::text::TextError;

/// A fault of ours, in words.
pub fn internal(message: impl Into<String>) -> ErrorData {
    ErrorData::new(Kind::Internal, message)
}

/// A request that cannot succeed as it stands.
pub fn invalid(message: impl Into<String>) -> ErrorData {
    ErrorData::new(Kind::InvalidParams, message)
}

impl From<TextError> for ErrorData {
    fn from(error: TextError) -> Self {
        let kind = match &error {
            TextError::Missing(_) | TextError::Broken { .. } | TextError::Template(_) => Kind::ModelBroken,
            TextError::NotSupported { .. } | TextError::Lacks(_) => Kind::NotSupported,
            TextError::Refused(_) | TextError::NoTemplate { .. } | TextError::Chat(_) | TextError::TooLong { .. } => {
                Kind::InvalidParams
            }
        };
        Self::new(kind, chain(&error))
    }
}

impl From<LibraryError> for ErrorData {
    fn from(error: LibraryError) -> Self {
        let kind = match &error {
            LibraryError::InvalidId(_) => Kind::InvalidParams,
            LibraryError::NotFound { .. } => Kind::ModelNotFound,
            LibraryError::Broken { .. } => Kind::ModelBroken,
            LibraryError::NotSupported { .. } | LibraryError::NotOurs { .. } => Kind::NotSupported,
            LibraryError::Storage { .. } | LibraryError::Disk { .. } => Kind::StorageFailed,
        };
        Self::new(kind, format!("failed to {}", chain(&error)))
    }
}

impl From<ImportError> for ErrorData {
    fn from(error: ImportError) -> Self {
        let kind = match error {
            ImportError::Lost(error) => return error.into(),
            ImportError::InvalidId { .. } | ImportError::InvalidQuantize { .. } => Kind::InvalidParams,
            ImportError::Exists { .. } | ImportError::InLibrary { .. } => Kind::ModelExists,
            ImportError::NotSupported { .. } => Kind::NotSupported,
            ImportError::Read { .. }
            | ImportError::Damaged { .. }
            | ImportError::NoSpace { .. }
            | ImportError::Write { .. }
            | ImportError::Engine { .. }
            | ImportError::Cancelled { .. } => Kind::ImportFailed,
        };
        Self::new(kind, format!("failed to {}", chain(&error)))
    }
}

/// An error and its sources, in one line.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}
