//! A loaded model: of those that go on with a text, or of those that only read it.

use mlx_rs::Array;
use mlx_rs::error::Result as MlxResult;

use crate::config::Config;
use crate::encoders;
use crate::error::{Error, Result};
use crate::models::{self, Facts, Model};
use crate::weights::Weights;

/// Reads a text both ways.
pub trait Encoder {
    /// The last vectors `[1, tokens, hidden]` of `ids`, of shape `[1, tokens]`.
    fn hidden(&self, ids: &Array) -> MlxResult<Array>;

    /// What callers need to know.
    fn facts(&self) -> Facts;
}

/// Either kind.
pub enum Network {
    /// Makes text and vectors.
    Decoder(Box<dyn Model>),
    /// Makes vectors.
    Encoder(Box<dyn Encoder>),
}

impl Network {
    /// Loads the architecture that the config names.
    pub fn load(config: &Config, weights: &mut Weights) -> Result<Self> {
        match encoders::find(config)? {
            Some(construct) => construct(config, weights).map(Self::Encoder),
            None => models::find(config)?(config, weights).map(Self::Decoder),
        }
    }

    /// What callers need to know.
    pub fn facts(&self) -> Facts {
        match self {
            Self::Decoder(model) => model.facts(),
            Self::Encoder(encoder) => encoder.facts(),
        }
    }

    /// The model, where it can make text.
    pub fn decoder(&self) -> Result<&dyn Model> {
        match self {
            Self::Decoder(model) => Ok(model.as_ref()),
            Self::Encoder(_) => Err(Error::NotSupported("this model makes vectors of texts, and no text".into())),
        }
    }
}
