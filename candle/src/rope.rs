//! Rotary positions: wavelengths from the config, angles for the tokens of one step.

use std::f32::consts::PI;

use candle_core::{D, Device, Result as CandleResult, Tensor};
use candle_nn::rotary_emb;
use serde::Deserialize;

use crate::config::Config;
use crate::error::{Error, Result};

/// Base of the wavelengths where the config names none, and in Gemma 3.
const THETA: f32 = 10_000.0;
const GEMMA_THETA: f32 = 1e6;

/// The keys of a config, as they stand at its top.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    rope_theta: Option<f32>,
    rope_scaling: Option<Scaling>,
    rope_parameters: Option<Kinds>,
    #[serde(default)]
    rope_traditional: bool,
    /// Of layers with a window, in Gemma 3.
    rope_local_base_freq: Option<f32>,
    partial_rotary_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
}

/// Newer exports may tell layers apart.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Kinds {
    Apart { full_attention: Scaling, sliding_attention: Scaling },
    Alike(Scaling),
}

/// How the wavelengths reach beyond the context of the first training.
#[derive(Debug, Clone, Deserialize)]
struct Scaling {
    r#type: Option<String>,
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
    long_factor: Option<Vec<f32>>,
}

/// The rope of a model's layers.
pub struct Rope {
    /// Turned by a token, each for two numbers of a head.
    frequencies: Vec<f32>,
    /// Whether neighbours are rotated together, instead of halves.
    traditional: bool,
    /// Times this is what turned numbers become.
    stretch: f32,
}

/// The angles of some tokens, `[tokens, turned / 2]` each.
pub struct Angles {
    cos: Tensor,
    sin: Tensor,
    traditional: bool,
}

impl Rope {
    /// What `config` says of layers that see everything.
    pub fn new(config: &Config) -> Result<Self> {
        let settings = &config.rope;
        let scaling = match &settings.rope_parameters {
            Some(Kinds::Apart { full_attention, .. }) => Some(full_attention),
            Some(Kinds::Alike(scaling)) => Some(scaling),
            None => settings.rope_scaling.as_ref(),
        };
        let theta = if config.is_gemma3() { GEMMA_THETA } else { THETA };
        let theta = scaling.and_then(|scaling| scaling.rope_theta).or(settings.rope_theta).unwrap_or(theta);
        let plain = plain(theta, turned(config)?)?;
        let frequencies = scaling.map_or(Ok(plain.clone()), |scaling| scaled(plain.into_iter(), scaling))?;
        let stretch =
            scaling.filter(|scaling| scaling.is_long()).map_or(Ok(1.0), |scaling| stretch(scaling, config))?;
        Ok(Self { frequencies, traditional: settings.rope_traditional, stretch })
    }

    /// What it says of layers with a window, which have a base of their own in Gemma 3.
    pub fn sliding(config: &Config) -> Result<Self> {
        let settings = &config.rope;
        if !config.is_gemma3() {
            return Self::new(config);
        }
        let named = match &settings.rope_parameters {
            Some(Kinds::Apart { sliding_attention, .. }) => sliding_attention.rope_theta,
            _ => None,
        };
        let theta = named.or(settings.rope_local_base_freq).unwrap_or(THETA);
        Ok(Self { frequencies: plain(theta, config.head_dim())?, traditional: false, stretch: 1.0 })
    }

    /// Of `count` tokens from `first` on.
    pub fn angles(&self, first: usize, count: usize, device: &Device) -> CandleResult<Angles> {
        let positions = (first..first + count).map(|position| position as f32);
        let angles = positions.flat_map(|position| self.frequencies.iter().map(move |turn| position * turn));
        let angles = Tensor::from_iter(angles, device)?.reshape((count, self.frequencies.len()))?;
        let stretch = f64::from(self.stretch);
        let (cos, sin) = ((angles.cos()? * stretch)?, (angles.sin()? * stretch)?);
        Ok(Angles { cos, sin, traditional: self.traditional })
    }
}

impl Angles {
    /// Turns `[1, heads, tokens, dims]`, of which numbers behind those that are turned stay.
    pub fn turn(&self, x: &Tensor) -> CandleResult<Tensor> {
        let rope = if self.traditional { rotary_emb::rope_i } else { rotary_emb::rope };
        let (all, turned) = (x.dim(D::Minus1)?, 2 * self.cos.dim(1)?);
        let part = rope(&x.narrow(D::Minus1, 0, turned)?.contiguous()?, &self.cos, &self.sin)?;
        if turned == all {
            return Ok(part);
        }
        Tensor::cat(&[part, x.narrow(D::Minus1, turned, all - turned)?], D::Minus1)
    }
}

/// Numbers of each head that are turned.
fn turned(config: &Config) -> Result<usize> {
    let dims = config.head_dim();
    let Some(factor) = config.rope.partial_rotary_factor.filter(|_| config.is_joined()) else { return Ok(dims) };
    let turned = (dims as f32 * factor) as usize;
    if (2..=dims).contains(&turned) && turned.is_multiple_of(2) {
        return Ok(turned);
    }
    let text = format!("partial_rotary_factor {factor} of heads of {dims} numbers leaves no even part");
    Err(Error::Broken(text))
}

fn plain(theta: f32, dims: usize) -> Result<Vec<f32>> {
    let theta = positive("rope_theta", theta)?;
    Ok((0..dims / 2).map(|pair| theta.powf(-((2 * pair) as f32) / dims as f32)).collect())
}

impl Scaling {
    /// mlx-lm lets the older name win.
    fn kind(&self) -> &str {
        self.r#type.as_deref().or(self.rope_type.as_deref()).unwrap_or("default")
    }

    fn is_long(&self) -> bool {
        ["longrope", "su"].contains(&self.kind())
    }
}

/// `LongRoPE`'s: √(1 + ln(context / first context) / ln(first context)), from the context's growth.
fn stretch(scaling: &Scaling, config: &Config) -> Result<f32> {
    let first = scaling.original_max_position_embeddings.or(config.rope.original_max_position_embeddings);
    let first = first.unwrap_or(4096.0);
    // Its logarithm is divided by.
    positive("original_max_position_embeddings less 1", first - 1.0)?;
    let growth = config.context() as f64 / f64::from(first);
    Ok(if growth <= 1.0 { 1.0 } else { (1.0 + growth.ln() / f64::from(first).ln()).sqrt() as f32 })
}

fn scaled(plain: impl Iterator<Item = f32>, scaling: &Scaling) -> Result<Vec<f32>> {
    let factor = || {
        let factor = scaling.factor.ok_or_else(|| Error::Broken("the rope scaling has no factor".into()))?;
        positive("factor of the rope scaling", factor)
    };
    match scaling.kind() {
        "default" => Ok(plain.collect()),
        "linear" => factor().map(|factor| plain.map(|frequency| frequency / factor).collect()),
        "llama3" => llama3(plain, scaling, factor()?),
        // Always with the long factors, like mlx-lm. `factors` is what a GGUF file has in llama3's place.
        "longrope" | "su" | "factors" => factors(plain, scaling),
        kind => Err(Error::NotSupported(format!(
            "rope scaling {kind:?} is not known to Candle's engine, only default, linear, llama3 and longrope"
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
