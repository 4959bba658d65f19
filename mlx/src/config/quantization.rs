//! How matrices may be packed, and what a config says of it: `quantization` beside the paths of single layers.
//!
//! Like mlx-lm, the tensors' shapes decide, for which the config's general numbers are often wrong. What it says of a
//! single layer must be true.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;

use engine::convert::{BITS, GROUP_SIZES};
use mlx_rs::Dtype;
use serde_json::{Map, Value};

use super::Config;
use crate::error::{Error, Result};

/// How packed bits become numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `scale · bits + bias`, both of the group.
    Affine,
    /// Floats of 4 bits, times a power of two.
    Mxfp4,
    /// Floats of 4 bits, times a float of 8 bits.
    Nvfp4,
    /// Floats of 8 bits, times a power of two.
    Mxfp8,
}

impl Mode {
    /// All of MLX's.
    const ALL: [Self; 4] = [Self::Affine, Self::Mxfp4, Self::Nvfp4, Self::Mxfp8];

    /// MLX's name.
    pub fn name(self) -> &'static CStr {
        match self {
            Self::Affine => c"affine",
            Self::Mxfp4 => c"mxfp4",
            Self::Nvfp4 => c"nvfp4",
            Self::Mxfp8 => c"mxfp8",
        }
    }

    fn find(name: &Value) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name().to_str().is_ok_and(|known| name == known))
    }
}

/// A way to pack a row of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// What the bits mean.
    pub mode: Mode,
    /// Numbers that share a scale.
    pub group_size: i32,
    /// Of each number.
    pub bits: i32,
}

impl Packing {
    /// The only way in which `columns` numbers become `words` of 32 bits and `groups` scales of this type. The modes of
    /// floats have one group size and number of bits each.
    pub fn of(columns: i32, words: i32, groups: i32, scales: Dtype) -> Option<Self> {
        let fits = |size: &i32| groups.checked_mul(*size) == Some(columns);
        let bits = BITS
            .map(u32::cast_signed)
            .into_iter()
            .find(|bits| i64::from(columns) * i64::from(*bits) == i64::from(words) * 32)?;
        if scales != Dtype::Uint8 {
            let group_size = GROUP_SIZES.map(u32::cast_signed).into_iter().find(fits)?;
            return Some(Self { mode: Mode::Affine, group_size, bits });
        }
        let floats = [(Mode::Mxfp4, 32, 4), (Mode::Nvfp4, 16, 4), (Mode::Mxfp8, 32, 8)];
        let floats = floats.map(|(mode, group_size, bits)| Self { mode, group_size, bits });
        floats.into_iter().find(|packing| packing.bits == bits && fits(&packing.group_size))
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, group_size, bits } = self;
        write!(f, "{} with {bits} bits in groups of {group_size}", mode.name().to_string_lossy())
    }
}

/// What a config says of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// That its numbers are as they are.
    Plain,
    /// That they are packed, and as much of the way as it says.
    Packed {
        /// As in [`Packing`], each, if named.
        mode: Option<Mode>,
        /// Likewise.
        group_size: Option<i32>,
        /// Likewise.
        bits: Option<i32>,
    },
}

impl Layer {
    /// Whether tensors packed like this are what was said.
    pub fn is(self, packing: Packing) -> bool {
        let Self::Packed { mode, group_size, bits } = self else { return false };
        mode.is_none_or(|mode| mode == packing.mode)
            && group_size.is_none_or(|size| size == packing.group_size)
            && bits.is_none_or(|bits| bits == packing.bits)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Packed { mode, group_size, bits } = self else { return write!(f, "plain") };
        let mode = mode.map(|mode| mode.name().to_string_lossy().into_owned());
        let (size, bits) =
            (group_size.map(|size| format!("groups of {size}")), bits.map(|bits| format!("{bits} bits")));
        let said: Vec<String> = [mode, bits, size].into_iter().flatten().collect();
        if said.is_empty() { write!(f, "quantized") } else { write!(f, "{}", said.join(", ")) }
    }
}

/// What a config says of the layers that it names, by their paths.
pub type Layers = BTreeMap<String, Layer>;

/// Bits of a packed number, where the config says so of all layers; for an estimate, since the shapes decide.
pub fn usual_bits(config: &Config) -> Option<u32> {
    let settings = config.get("quantization").or_else(|| config.get("quantization_config"))?;
    u32::try_from(settings.get("bits")?.as_u64()?).ok()
}

/// Refuses what another program packed and modes that MLX lacks, at the top and for single layers.
pub fn read(config: &Config) -> Result<Layers> {
    // A file that `mlx-lm` wrote has both keys with the same content; others have only the second.
    let Some(settings) = config.get("quantization").or_else(|| config.get("quantization_config")) else {
        return Ok(Layers::new());
    };
    let Some(entries) = settings.as_object() else {
        return Err(config.broken("`quantization` is not an object"));
    };
    match entries.get("quant_method") {
        // Packed as MLX does it, by the model's makers.
        Some(method) if method == "mxfp4" || method == "mxfp8" => {}
        Some(method) => return Err(not_supported(config, "quantization", method)),
        None => {}
    }
    mode(config, "quantization", entries)?;
    entries.iter().filter_map(|(path, said)| layer(config, path, said).transpose()).collect()
}

/// The entry of a layer, if `said` is one.
fn layer(config: &Config, path: &str, said: &Value) -> Result<Option<(String, Layer)>> {
    let layer = match said {
        Value::Bool(false) => Layer::Plain,
        Value::Bool(true) => Layer::Packed { mode: None, group_size: None, bits: None },
        Value::Object(said) => Layer::Packed {
            mode: mode(config, path, said)?,
            group_size: number(config, path, said, "group_size")?,
            bits: number(config, path, said, "bits")?,
        },
        _ => return Ok(None),
    };
    Ok(Some((path.to_owned(), layer)))
}

fn mode(config: &Config, path: &str, said: &Map<String, Value>) -> Result<Option<Mode>> {
    let Some(name) = said.get("mode").filter(|name| !name.is_null()) else { return Ok(None) };
    Mode::find(name).map(Some).ok_or_else(|| not_supported(config, path, name))
}

fn number(config: &Config, path: &str, said: &Map<String, Value>, key: &str) -> Result<Option<i32>> {
    let Some(value) = said.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.map(Some).ok_or_else(|| config.broken(&format!("{key} of {path} is {value}")))
}

fn not_supported(config: &Config, path: &str, way: &Value) -> Error {
    let (file, known) = (config.path.display(), Mode::ALL.map(|mode| mode.name().to_string_lossy()).join(", "));
    Error::NotSupported(format!("{file}: {path} of kind {way} is not known, only MLX's {known}"))
}
