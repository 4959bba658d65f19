//! Which layers see only a sliding window of tokens.

use serde::Deserialize;

use super::Config;
use crate::error::Result;

/// The widest window that is believed.
const MAX_WINDOW: i32 = 1 << 24;

#[derive(Deserialize)]
struct Keys {
    layer_types: Option<Vec<LayerType>>,
    sliding_window: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LayerType {
    FullAttention,
    SlidingAttention,
}

/// The window of each of `layers`; `None` for those that see everything. Where the config names no types of layers,
/// `slides` says of each number from 0 whether that layer has a window.
pub fn read(config: &Config, layers: i32, slides: impl Fn(usize) -> bool) -> Result<Vec<Option<i32>>> {
    let keys: Keys = config.args()?;
    let slides: Vec<bool> = match &keys.layer_types {
        None => (0..layers as usize).map(slides).collect(),
        Some(types) if types.len() == layers as usize => {
            types.iter().map(|kind| *kind == LayerType::SlidingAttention).collect()
        }
        Some(types) => {
            let named = types.len();
            return Err(config.broken(&format!("layer_types names {named} layers, but num_hidden_layers is {layers}")));
        }
    };
    if !slides.contains(&true) {
        return Ok(vec![None; slides.len()]);
    }
    let missing = || config.broken("sliding_window is missing, but some layers have one");
    let window = keys.sliding_window.ok_or_else(missing)?;
    config.check("sliding_window", window, MAX_WINDOW)?;
    Ok(slides.into_iter().map(|slides| slides.then_some(window)).collect())
}
