//! Rotary positions: each pair of a head's numbers is turned by the token's position over a wavelength.

use mlx_rs::error::{Exception, Result as MlxResult};
use mlx_rs::{Array, ops};
use mlx_sys::mlx_optional_float;

use super::attention::Heads;
use crate::call::{self, Kind, Operation};
use crate::config::rope::{Llama3, Long, Rope as Settings, Scaling, Yarn};
use crate::error::{Error, Result};

/// Where the first token of a step lies in each row: numbers for all its layers, which MLX takes as an array.
pub struct Offset {
    rows: Vec<i32>,
    /// One number, or `[rows]`.
    array: Array,
}

impl Offset {
    /// Each row after so many tokens; at least one row.
    pub fn new(rows: Vec<i32>) -> Self {
        let array = match *rows.as_slice() {
            [tokens] => Array::from_int(tokens),
            ref rows => Array::from_slice(rows, &[rows.len() as i32]),
        };
        Self { rows, array }
    }

    /// The tokens before, of each row.
    pub fn rows(&self) -> &[i32] {
        &self.rows
    }
}

/// Turns the first `dims` numbers of each head.
pub struct Rope {
    dims: i32,
    traditional: bool,
    /// Absent where the wavelengths are given one by one.
    base: Option<f32>,
    scale: f32,
    wavelengths: Option<Array>,
    /// `[heads.dims]`: factors of a head's numbers before they are turned, where those are not all 1.
    stretch: Option<Array>,
}

impl Rope {
    /// For heads of which all numbers are turned.
    pub fn new(settings: &Settings, heads: Heads) -> Result<Self> {
        Self::partial(settings, heads, heads.dims)
    }

    /// For heads of which the first `dims` numbers are turned. Follows mlx-lm's `rope_utils.initialize_rope`.
    pub fn partial(settings: &Settings, heads: Heads, dims: i32) -> Result<Self> {
        let (theta, traditional) = (settings.theta, settings.traditional);
        let plain = Self { dims, traditional, base: Some(theta), scale: 1.0, wavelengths: None, stretch: None };
        let listed = |wavelengths: &[f32], stretch: f32| {
            let count = wavelengths.len() as i32;
            let wavelengths = Some(Array::from_slice(wavelengths, &[count]));
            let turned = |place: i32| if place < dims { stretch } else { 1.0 };
            let factors: Vec<f32> = (0..heads.dims).map(turned).collect();
            let stretch = ((stretch - 1.0).abs() > 0.0).then(|| Array::from_slice(&factors, &[heads.dims]));
            Self { dims, traditional, base: None, scale: 1.0, wavelengths, stretch }
        };
        Ok(match &settings.scaling {
            Scaling::Plain => plain,
            Scaling::Linear(factor) => Self { scale: 1.0 / factor, ..plain },
            Scaling::Llama3(scaling) => listed(&llama3(theta, dims, scaling), 1.0),
            Scaling::Yarn(scaling) => listed(&yarn(theta, dims, scaling), yarn_stretch(scaling)),
            Scaling::Long(Long { factors, stretch }) if factors.len() as i32 == dims / 2 => {
                let wavelengths: Vec<f32> =
                    bases(theta, dims).zip(factors).map(|(base, factor)| base as f32 * factor).collect();
                listed(&wavelengths, *stretch)
            }
            Scaling::Long(Long { factors, .. }) => {
                let (found, wanted) = (factors.len(), dims / 2);
                return Err(Error::Broken(format!(
                    "long_factor of the rope scaling has {found} numbers, but {wanted} are turned"
                )));
            }
        })
    }

    /// `x` of shape `[rows, …, tokens, dims]`, the first token of each row at its `offset`.
    pub fn forward(&self, x: &Array, offset: &Offset) -> MlxResult<Array> {
        let Self { dims, traditional, base, scale, wavelengths, stretch } = self;
        let stretched = match stretch {
            Some(factors) => Some(ops::multiply(x, &factors.as_dtype(x.dtype())?)?),
            None => None,
        };
        let x = stretched.as_ref().unwrap_or(x);
        let base = mlx_optional_float { value: base.unwrap_or_default(), has_value: base.is_some() };
        let bits = |value: f32| value.to_bits().cast_signed();
        let numbers = [*dims, i32::from(*traditional), i32::from(base.has_value), bits(base.value), bits(*scale)];
        let operation = Operation::of(Kind::Rope, &numbers);
        let inputs = [Some(x), Some(&offset.array), wavelengths.as_ref()];
        let turned = call::again(&operation, inputs, |result, [x, offset, wavelengths], stream| {
            // SAFETY: all handles outlive the call; MLX takes an absent one as none.
            unsafe {
                mlx_sys::mlx_fast_rope_dynamic(
                    result,
                    x,
                    *dims,
                    *traditional,
                    base,
                    *scale,
                    offset,
                    wavelengths,
                    stream,
                )
            }
        });
        turned.ok_or_else(|| Exception::custom(format!("cannot turn {dims} numbers of {:?}", x.shape())))
    }
}

/// `base^(2i/dims)`, the wavelengths over 2π where nothing stretches them.
fn bases(theta: f32, dims: i32) -> impl Iterator<Item = f64> {
    (0..dims).step_by(2).map(move |i| f64::from(theta).powf(f64::from(i) / f64::from(dims)))
}

/// Llama 3's wavelengths over 2π, from mlx-lm's `rope_utils.Llama3RoPE`: `base^(2i/dims)`, the long ones times
/// `factor`, those between the two limits by a share of it.
fn llama3(theta: f32, dims: i32, scaling: &Llama3) -> Vec<f32> {
    let Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } = *scaling;
    let [factor, low, high, context] =
        [factor, low_freq_factor, high_freq_factor, original_max_position_embeddings].map(f64::from);
    let stretch = |freq: f64| {
        let wavelength = 2.0 * std::f64::consts::PI * freq;
        if wavelength > context / low {
            freq * factor
        } else if wavelength > context / high {
            let smooth = (context / wavelength - low) / (high - low);
            freq / ((1.0 - smooth) / factor + smooth)
        } else {
            freq
        }
    };
    bases(theta, dims).map(|freq| stretch(freq) as f32).collect()
}

/// `YaRN`'s wavelengths over 2π, from mlx-lm's `rope_utils.YarnRoPE`: a ramp over the dimensions leads from those left
/// alone to those stretched fully.
fn yarn(theta: f32, dims: i32, scaling: &Yarn) -> Vec<f32> {
    let Yarn { factor, original_max_position_embeddings, beta_fast, beta_slow, .. } = *scaling;
    let [theta64, factor, context, fast, slow] =
        [theta, factor, original_max_position_embeddings, beta_fast, beta_slow].map(f64::from);
    // The dimension whose wavelength turns so often within the first context.
    let dimension =
        |turns: f64| f64::from(dims) * (context / (turns * 2.0 * std::f64::consts::PI)).ln() / (2.0 * theta64.ln());
    let low = dimension(fast).floor().max(0.0);
    let high = dimension(slow).ceil().min(f64::from(dims - 1));
    let width = if (high - low).abs() > 0.0 { high - low } else { 0.001 };
    let stretched = |(place, freq): (usize, f64)| {
        let alone = 1.0 - ((place as f64 - low) / width).clamp(0.0, 1.0);
        let wide = factor * freq;
        (wide * freq) / (wide * alone + freq * (1.0 - alone))
    };
    bases(theta, dims).enumerate().map(|wavelength| stretched(wavelength) as f32).collect()
}

/// How much `YaRN` stretches the vectors.
fn yarn_stretch(scaling: &Yarn) -> f32 {
    let Yarn { factor, mscale, mscale_all_dim, .. } = *scaling;
    let part = |weight: f32| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
    part(mscale) / part(mscale_all_dim)
}

#[cfg(test)]
#[path = "rope_tests.rs"]
mod tests;
