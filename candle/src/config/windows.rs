//! Which layers see only a window of tokens.

use serde::Deserialize;

use crate::error::{Error, Result};

/// The keys as they stand at the top of a config.
#[derive(Debug, Clone, Deserialize)]
pub struct Windows {
    pub sliding_window: Option<usize>,
    #[serde(default)]
    pub use_sliding_window: bool,
    pub layer_types: Option<Vec<LayerType>>,
    sliding_window_pattern: Option<usize>,
    #[serde(rename = "_sliding_window_pattern")]
    hidden_pattern: Option<usize>,
}

/// How far a layer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    FullAttention,
    SlidingAttention,
}

impl Windows {
    /// Of so many layers one sees everything, where the layers are not named.
    pub fn pattern(&self) -> usize {
        self.sliding_window_pattern.or(self.hidden_pattern).unwrap_or(6)
    }

    /// The window of each of `layers`. Where the config names no types of layers, `slides` says which have one.
    pub fn of_layers(&self, layers: usize, slides: impl Fn(usize) -> bool) -> Result<Vec<Option<usize>>> {
        let slides: Vec<bool> = match &self.layer_types {
            None => (0..layers).map(slides).collect(),
            Some(types) if types.len() == layers => {
                types.iter().map(|kind| *kind == LayerType::SlidingAttention).collect()
            }
            Some(types) => {
                let named = types.len();
                let text = format!("layer_types names {named} layers, but num_hidden_layers is {layers}");
                return Err(Error::Broken(text));
            }
        };
        if !slides.contains(&true) {
            return Ok(vec![None; layers]);
        }
        let missing = || Error::Broken("sliding_window is missing, but some layers have one".into());
        let window = self.sliding_window.ok_or_else(missing)?;
        Ok(slides.into_iter().map(|slides| slides.then_some(window)).collect())
    }
}
