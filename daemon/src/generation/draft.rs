//! The draft of a model: what the configuration names, and whether it is here.

use protocol::{ErrorData, Kind, ModelId};

use crate::config::kinds::DraftModels;
use crate::library::{Library, LibraryError};
use crate::local::{Draft, LocalModel};

/// The draft that the configuration names for a model, looked at now. One that is not here is told in the log.
pub(super) fn named(named: &DraftModels, library: &Library, model: &ModelId) -> Option<Draft> {
    let id = named.of(model)?.clone();
    let path = library.find(&id).and_then(|found| found.ready().map(ToOwned::to_owned));
    let path = path.map_err(|error| match error {
        LibraryError::NotFound { .. } => "it is not installed".into(),
        error => error.to_string(),
    });
    if let Err(why) = &path {
        tracing::warn!(%model, draft = %id, "the model is loaded without its draft: {why}");
    }
    Some(Draft { id, path })
}

/// That a model has a draft which is here. Whether its engine takes it is known once both are loaded.
pub(super) fn check(model: &LocalModel) -> Result<(), ErrorData> {
    let why = match &model.draft {
        Some(Draft { path: Ok(_), .. }) => return Ok(()),
        Some(Draft { id, path: Err(why) }) => format!("the draft model {id} of {} is not in use: {why}", model.id),
        None => format!("{} has no draft model", model.id),
    };
    let way_out = "name one under `draft_models` in the configuration and load the model again, or leave \
                   options.speculation at auto";
    Err(ErrorData::new(Kind::NotSupported, format!("{why}; {way_out}")))
}
