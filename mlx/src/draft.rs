//! A smaller model of the same vocabulary, which guesses tokens for the resident one: what it must be for that.
//!
//! It never decides what a sequence says. What it is asked in a sequence is in `sequence/guesses/drafting.rs`.

use std::path::Path;

use engine::speculation::same_tokens;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::models::Model;
use crate::network::Network;

/// A draft with all its weights.
pub struct Draft(Box<dyn Model>);

impl Draft {
    /// A model that can guess: wrong guesses must be taken back.
    pub fn new(network: Network) -> Result<Self> {
        let Network::Decoder(model) = network else {
            return Err(Error::NotSupported("it makes vectors of texts, and no text".into()));
        };
        if !model.caches().iter().all(Cache::can_cut) {
            let words = "it has layers that keep only the last tokens and cannot take any back";
            return Err(Error::NotSupported(words.into()));
        }
        Ok(Self(model))
    }

    /// The model.
    pub fn model(&self) -> &dyn Model {
        self.0.as_ref()
    }
}

/// What is known of a draft's folder before its weights are read: the bytes of its weight files, or why it is no draft of the
/// model.
pub fn look(model: &Path, draft: &Path) -> std::result::Result<u64, String> {
    same_tokens(model, draft)?;
    let files = engine::weight_files(draft)?;
    let bytes = |name| draft.join(name).metadata().map_or(0, |file| file.len());
    Ok(files.into_iter().map(bytes).sum())
}

/// What a request is told that asks for a draft where there is none.
pub fn none() -> String {
    "the model has no draft; name one under `draft_models` in the configuration, or leave speculation at auto".into()
}

/// The same where the one that is named is refused.
pub fn refused(why: &str) -> String {
    format!(
        "the model's draft is not in use: {why}; name another under `draft_models` in the configuration, or leave \
         speculation at auto"
    )
}
