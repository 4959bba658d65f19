//! Failures of engines and of the scheduler, in the words and kinds of the wire.

use engine::FailureKind;
use protocol::{ErrorData, Kind, ModelId};

/// Nothing new is taken.
pub(super) fn shutting_down() -> ErrorData {
    ErrorData::new(Kind::ShuttingDown, "the daemon is ending; start it again and repeat the request")
}

/// Why a model is not loaded.
pub(super) fn load_error(id: &ModelId, failure: &engine::Failure) -> ErrorData {
    ErrorData::new(failure_kind(failure.kind), format!("failed to load {id}: {}", failure.message))
}

/// The wire's kind of an engine's failure.
pub(super) fn failure_kind(kind: FailureKind) -> Kind {
    match kind {
        FailureKind::ModelBroken => Kind::ModelBroken,
        FailureKind::NotSupported => Kind::NotSupported,
        FailureKind::InvalidGrammar => Kind::InvalidParams,
        FailureKind::Internal => Kind::GenerationFailed,
    }
}
