//! Rotary positions: each pair of a head's numbers is turned by the token's position over a wavelength.

use mlx_rs::error::Result as MlxResult;
use mlx_rs::{Array, fast};

use crate::config::rope::{Llama3, Rope as Settings, Scaling};

/// Turns the first `dims` numbers of each head.
pub struct Rope {
    dims: i32,
    traditional: bool,
    /// Absent where the wavelengths are given one by one.
    base: Option<f32>,
    scale: f32,
    wavelengths: Option<Array>,
}

impl Rope {
    /// For heads of `dims` numbers. Follows mlx-lm's `rope_utils.initialize_rope`.
    pub fn new(settings: &Settings, dims: i32) -> Self {
        let plain =
            Self { dims, traditional: settings.traditional, base: Some(settings.theta), scale: 1.0, wavelengths: None };
        match &settings.scaling {
            Scaling::Plain => plain,
            Scaling::Linear(factor) => Self { scale: 1.0 / factor, ..plain },
            Scaling::Llama3(scaling) => {
                let wavelengths = llama3(settings.theta, dims, scaling);
                let wavelengths = Array::from_slice(&wavelengths, &[wavelengths.len() as i32]);
                Self { base: None, wavelengths: Some(wavelengths), ..plain }
            }
        }
    }

    /// `x` of shape `[…, tokens, dims]`, the first token at position `offset`.
    pub fn forward(&self, x: &Array, offset: i32) -> MlxResult<Array> {
        let Self { dims, traditional, base, scale, wavelengths } = self;
        fast::rope(x, *dims, *traditional, *base, *scale, offset, wavelengths)
    }
}

/// Llama 3's wavelengths over 2π, from mlx-lm's `rope_utils.Llama3RoPE`: `base^(2i/dims)`, the long ones times
/// `factor`, those between the two limits by a share of it.
fn llama3(theta: f32, dims: i32, scaling: &Llama3) -> Vec<f32> {
    let Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } = *scaling;
    let [theta, factor, low, high, context] =
        [theta, factor, low_freq_factor, high_freq_factor, original_max_position_embeddings].map(f64::from);
    let stretch = |i: i32| {
        let freq = theta.powf(f64::from(i) / f64::from(dims));
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
    (0..dims).step_by(2).map(|i| stretch(i) as f32).collect()
}

#[cfg(test)]
#[path = "rope_tests.rs"]
mod tests;
