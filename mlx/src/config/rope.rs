//! How a config describes rotary positions: `rope_scaling` beside `rope_theta`, or newer `rope_parameters` with both.

use serde::Deserialize;

use super::Config;
use crate::error::{Error, Result};

/// Base of the wavelengths where a config names none.
const THETA: f32 = 10_000.0;

/// The keys as they stand.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Keys {
    #[serde(rename = "rope_theta")]
    theta: Option<f32>,
    #[serde(default, rename = "rope_traditional")]
    traditional: bool,
    #[serde(rename = "rope_scaling")]
    scaling: Option<Parameters>,
    #[serde(rename = "rope_parameters")]
    parameters: Option<Parameters>,
}

#[derive(Debug, Clone, Deserialize)]
struct Parameters {
    rope_theta: Option<f32>,
    r#type: Option<String>,
    rope_type: Option<String>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
}

/// Rotary positions of one model, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the wavelengths.
    pub theta: f32,
    /// Whether neighbours are rotated together, instead of halves.
    pub traditional: bool,
    /// How the wavelengths reach beyond the context of the first training.
    pub scaling: Scaling,
}

/// See [`Rope::scaling`].
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// Not at all.
    Plain,
    /// All positions are divided by this.
    Linear(f32),
    /// Long wavelengths are stretched, as Llama 3.1 and later do.
    Llama3(Llama3),
}

/// The numbers of Llama 3's scaling, named as in the config.
#[derive(Debug, Clone, PartialEq)]
pub struct Llama3 {
    /// How much the long wavelengths are stretched.
    pub factor: f32,
    /// Wavelengths above the first context divided by this are stretched fully.
    pub low_freq_factor: f32,
    /// Wavelengths below the first context divided by this are left alone.
    pub high_freq_factor: f32,
    /// The first context.
    pub original_max_position_embeddings: f32,
}

impl Keys {
    /// What the keys say, or the first thing wrong with them.
    pub fn check(&self, config: &Config) -> Result<Rope> {
        let parameters = self.parameters.as_ref().or(self.scaling.as_ref());
        let theta = parameters.and_then(|parameters| parameters.rope_theta).or(self.theta).unwrap_or(THETA);
        config.check_positive("rope_theta", theta)?;
        let scaling = parameters.map_or(Ok(Scaling::Plain), |parameters| parameters.scaling(config))?;
        Ok(Rope { theta, traditional: self.traditional, scaling })
    }
}

impl Parameters {
    fn scaling(&self, config: &Config) -> Result<Scaling> {
        // mlx-lm lets the older name win.
        let kind = self.r#type.as_deref().or(self.rope_type.as_deref()).unwrap_or("default");
        match kind {
            "default" => Ok(Scaling::Plain),
            "linear" => Ok(Scaling::Linear(self.factor(config)?)),
            "llama3" => Ok(Scaling::Llama3(self.llama3(config)?)),
            _ => Err(Error::NotSupported(format!(
                "{}: rope scaling {kind:?} is not known, only default, linear and llama3",
                config.path.display()
            ))),
        }
    }

    fn factor(&self, config: &Config) -> Result<f32> {
        let factor = self.factor.ok_or_else(|| config.broken("the rope scaling has no factor"))?;
        config.check_positive("factor of the rope scaling", factor)?;
        Ok(factor)
    }

    fn llama3(&self, config: &Config) -> Result<Llama3> {
        let scaling = Llama3 {
            factor: self.factor(config)?,
            low_freq_factor: self.low_freq_factor.unwrap_or(1.0),
            high_freq_factor: self.high_freq_factor.unwrap_or(4.0),
            original_max_position_embeddings: self.original_max_position_embeddings.unwrap_or(8192.0),
        };
        config.check_positive("low_freq_factor", scaling.low_freq_factor)?;
        config.check_positive("original_max_position_embeddings", scaling.original_max_position_embeddings)?;
        // The formula divides by their difference.
        if scaling.high_freq_factor.is_finite() && scaling.high_freq_factor > scaling.low_freq_factor {
            return Ok(scaling);
        }
        Err(config.broken("high_freq_factor must be above low_freq_factor"))
    }
}
