//! The table of encoders: models that read a text and make no other.

mod bert;

use crate::config::Config;
use crate::error::Result;
use crate::network::Encoder;
use crate::weights::Weights;

type Constructor = fn(&Config, &mut Weights) -> Result<Box<dyn Encoder>>;

const ENCODERS: [(&str, Constructor); 1] = [("bert", bert::load)];

/// The constructor of the config's architecture, if it is an encoder's.
pub fn find(config: &Config) -> Result<Option<Constructor>> {
    let wanted = config.model_type()?;
    Ok(ENCODERS.iter().find(|(name, _)| *name == wanted).map(|(_, constructor)| *constructor))
}

#[cfg(test)]
#[path = "encoders_tests.rs"]
mod tests;
