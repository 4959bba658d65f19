//! Rotary positions: wavelengths from the config, angles for the tokens of one step.

use std::f32::consts::PI;

use candle_core::{Device, Result as CandleResult, Tensor};
use candle_nn::rotary_emb;

use crate::config::{Config, Scaling};
use crate::error::{Error, Result};

/// Base of the wavelengths where the config names none.
const THETA: f32 = 10_000.0;

/// The rope of a model's layers.
pub struct Rope {
    /// Turned by a token, each for two numbers of a head.
    frequencies: Vec<f32>,
    /// Whether neighbours are rotated together, instead of halves.
    traditional: bool,
}

/// The angles of some tokens, `[tokens, dims / 2]` each.
pub struct Angles {
    cos: Tensor,
    sin: Tensor,
    traditional: bool,
}

impl Rope {
    /// What `config` says.
    pub fn new(config: &Config) -> Result<Self> {
        let scaling = config.rope_parameters.as_ref().or(config.rope_scaling.as_ref());
        let theta = scaling.and_then(|scaling| scaling.rope_theta).or(config.rope_theta).unwrap_or(THETA);
        let theta = positive("rope_theta", theta)?;
        let dims = config.head_dim();
        let plain = (0..dims / 2).map(|pair| theta.powf(-((2 * pair) as f32) / dims as f32));
        let frequencies = match scaling {
            Some(scaling) => scaled(plain, scaling)?,
            None => plain.collect(),
        };
        Ok(Self { frequencies, traditional: config.rope_traditional })
    }

    /// Of `count` tokens from `first` on.
    pub fn angles(&self, first: usize, count: usize, device: &Device) -> CandleResult<Angles> {
        let positions = (first..first + count).map(|position| position as f32);
        let angles = positions.flat_map(|position| self.frequencies.iter().map(move |turn| position * turn));
        let angles = Tensor::from_iter(angles, device)?.reshape((count, self.frequencies.len()))?;
        Ok(Angles { cos: angles.cos()?, sin: angles.sin()?, traditional: self.traditional })
    }
}

impl Angles {
    /// Turns `[1, heads, tokens, dims]`.
    pub fn turn(&self, x: &Tensor) -> CandleResult<Tensor> {
        let rope = if self.traditional { rotary_emb::rope_i } else { rotary_emb::rope };
        rope(&x.contiguous()?, &self.cos, &self.sin)
    }
}

fn scaled(plain: impl Iterator<Item = f32>, scaling: &Scaling) -> Result<Vec<f32>> {
    // mlx-lm lets the older name win.
    let kind = scaling.r#type.as_deref().or(scaling.rope_type.as_deref()).unwrap_or("default");
    let factor = || {
        let factor = scaling.factor.ok_or_else(|| Error::Broken("the rope scaling has no factor".into()))?;
        positive("factor of the rope scaling", factor)
    };
    match kind {
        "default" => Ok(plain.collect()),
        "linear" => factor().map(|factor| plain.map(|frequency| frequency / factor).collect()),
        "llama3" => llama3(plain, scaling, factor()?),
        // What a GGUF file has in its place.
        "factors" => factors(plain, scaling),
        _ => Err(Error::NotSupported(format!(
            "rope scaling {kind:?} is not known to Candle's engine, only default, linear and llama3"
        ))),
    }
}

/// Long wavelengths are stretched, short ones left alone, those between by their share: mlx-lm's `Llama3RoPE`.
fn llama3(plain: impl Iterator<Item = f32>, scaling: &Scaling, factor: f32) -> Result<Vec<f32>> {
    let low = positive("low_freq_factor", scaling.low_freq_factor.unwrap_or(1.0))?;
    let high = scaling.high_freq_factor.unwrap_or(4.0);
    let context = scaling.original_max_position_embeddings.unwrap_or(8192.0);
    let context = positive("original_max_position_embeddings", context)?;
    // The formula divides by their difference.
    if !(high.is_finite() && high > low) {
        return Err(Error::Broken("high_freq_factor must be above low_freq_factor".into()));
    }
    let stretch = |frequency: f32| {
        let turns = context * frequency / (2.0 * PI);
        let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        frequency * (share + (1.0 - share) / factor)
    };
    Ok(plain.map(stretch).collect())
}

fn factors(plain: impl Iterator<Item = f32>, scaling: &Scaling) -> Result<Vec<f32>> {
    let (plain, factors): (Vec<f32>, _) = (plain.collect(), scaling.long_factor.as_deref().unwrap_or_default());
    if factors.len() != plain.len() {
        let (found, wanted) = (factors.len(), plain.len());
        return Err(Error::Broken(format!("the rope scaling has {found} factors, but {wanted} pairs are turned")));
    }
    let scaled = plain.iter().zip(factors);
    scaled.map(|(turn, factor)| Ok(turn / positive("a factor of the rope scaling", *factor)?)).collect()
}

fn positive(key: &str, value: f32) -> Result<f32> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(Error::Broken(format!("config.json: {key} is {value}, but must be a number above 0")))
}
