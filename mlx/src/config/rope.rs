//! How a config describes rotary positions: `rope_scaling` beside `rope_theta`, or newer `rope_parameters` with both.

use serde::Deserialize;

use super::Config;
use crate::error::{Error, Result};

/// Base of the wavelengths where neither a config nor its architecture names one.
pub const THETA: f32 = 10_000.0;

/// The keys as they stand at the top of a config.
#[derive(Debug, Clone, Default, Deserialize)]
struct Keys {
    rope_theta: Option<f32>,
    #[serde(default)]
    rope_traditional: bool,
    rope_scaling: Option<Parameters>,
    rope_parameters: Option<Kinds>,
    max_position_embeddings: Option<f32>,
    original_max_position_embeddings: Option<f32>,
}

/// Newer exports may tell layers apart.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Kinds {
    Apart { full_attention: Parameters, sliding_attention: Parameters },
    Alike(Parameters),
}

/// What stands under one of the two keys.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Parameters {
    rope_theta: Option<f32>,
    r#type: Option<String>,
    rope_type: Option<String>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
    beta_fast: Option<f32>,
    beta_slow: Option<f32>,
    mscale: Option<f32>,
    mscale_all_dim: Option<f32>,
    long_factor: Option<Vec<f32>>,
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
    /// Long wavelengths are stretched by their number of turns, and the vectors too.
    Yarn(Yarn),
    /// Each wavelength has a factor of its own.
    Long(Long),
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

/// The numbers of `YaRN` (<https://arxiv.org/abs/2309.00071>), named as in the config.
#[derive(Debug, Clone, PartialEq)]
pub struct Yarn {
    /// How much the long wavelengths are stretched.
    pub factor: f32,
    /// The first context.
    pub original_max_position_embeddings: f32,
    /// Wavelengths with more turns in the first context are left alone.
    pub beta_fast: f32,
    /// Wavelengths with fewer turns in the first context are stretched fully.
    pub beta_slow: f32,
    /// Weight of the vectors' stretch.
    pub mscale: f32,
    /// Weight of the stretch that is taken back from it.
    pub mscale_all_dim: f32,
}

/// The numbers of `LongRoPE` (<https://arxiv.org/abs/2402.13753>). Like mlx-lm, always with the long factors.
#[derive(Debug, Clone, PartialEq)]
pub struct Long {
    /// One for each wavelength.
    pub factors: Vec<f32>,
    /// Times this is what the vectors become.
    pub stretch: f32,
}

impl Rope {
    /// What `config` says of layers that see everything; `theta` is the base where it names none.
    pub fn read(config: &Config, theta: f32) -> Result<Self> {
        let keys: Keys = config.args()?;
        let parameters = match &keys.rope_parameters {
            Some(Kinds::Apart { full_attention, .. }) => Some(full_attention),
            Some(Kinds::Alike(parameters)) => Some(parameters),
            None => keys.rope_scaling.as_ref(),
        };
        let theta = parameters.and_then(|parameters| parameters.rope_theta).or(keys.rope_theta).unwrap_or(theta);
        config.check_positive("rope_theta", theta)?;
        let scaling = parameters.map_or(Ok(Scaling::Plain), |parameters| parameters.scaling(config, &keys))?;
        Ok(Self { theta, traditional: keys.rope_traditional, scaling })
    }

    /// What it says of layers with a sliding window, in architectures that tell them apart.
    pub fn read_sliding(config: &Config, theta: f32) -> Result<Self> {
        let keys: Keys = config.args()?;
        let named = match &keys.rope_parameters {
            Some(Kinds::Apart { sliding_attention, .. }) => sliding_attention.rope_theta,
            _ => None,
        };
        let theta = named.unwrap_or(theta);
        config.check_positive("rope_theta", theta)?;
        Ok(Self { theta, traditional: false, scaling: Scaling::Plain })
    }
}

impl Parameters {
    fn scaling(&self, config: &Config, keys: &Keys) -> Result<Scaling> {
        // mlx-lm lets the older name win.
        let kind = self.r#type.as_deref().or(self.rope_type.as_deref()).unwrap_or("default");
        match kind {
            "default" => Ok(Scaling::Plain),
            "linear" => Ok(Scaling::Linear(self.factor(config)?)),
            "llama3" => Ok(Scaling::Llama3(self.llama3(config)?)),
            "yarn" => Ok(Scaling::Yarn(self.yarn(config)?)),
            "longrope" | "su" => Ok(Scaling::Long(self.long(config, keys)?)),
            _ => Err(Error::NotSupported(format!(
                "{}: rope scaling {kind:?} is not known, only default, linear, llama3, yarn and longrope",
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

    fn yarn(&self, config: &Config) -> Result<Yarn> {
        let scaling = Yarn {
            factor: self.factor(config)?,
            original_max_position_embeddings: self.original_max_position_embeddings.unwrap_or(4096.0),
            beta_fast: self.beta_fast.unwrap_or(32.0),
            beta_slow: self.beta_slow.unwrap_or(1.0),
            mscale: self.mscale.unwrap_or(1.0),
            mscale_all_dim: self.mscale_all_dim.unwrap_or(0.0),
        };
        config.check_positive("original_max_position_embeddings", scaling.original_max_position_embeddings)?;
        config.check_positive("beta_fast", scaling.beta_fast)?;
        config.check_positive("beta_slow", scaling.beta_slow)?;
        if scaling.mscale >= 0.0 && scaling.mscale_all_dim >= 0.0 {
            return Ok(scaling);
        }
        Err(config.broken("mscale and mscale_all_dim of the rope scaling must not be negative"))
    }

    /// The stretch is √(1 + ln(context / first context) / ln(first context)), from the context's growth.
    fn long(&self, config: &Config, keys: &Keys) -> Result<Long> {
        let factors = self.long_factor.clone().ok_or_else(|| config.broken("the rope scaling has no long_factor"))?;
        factors.iter().try_for_each(|factor| config.check_positive("long_factor of the rope scaling", *factor))?;
        let first = self.original_max_position_embeddings.or(keys.original_max_position_embeddings).unwrap_or(4096.0);
        let context = keys.max_position_embeddings.unwrap_or(131_072.0);
        config.check_positive("max_position_embeddings", context)?;
        // Its logarithm is divided by.
        config.check_positive("original_max_position_embeddings less 1", first - 1.0)?;
        let growth = f64::from(context) / f64::from(first);
        let stretch = if growth <= 1.0 { 1.0 } else { (1.0 + growth.ln() / f64::from(first).ln()).sqrt() };
        Ok(Long { factors, stretch: stretch as f32 })
    }
}
