//! What `config.json` says of the conversion, and the one that is written: mlx-lm's `quantize_model` and `save_config`.

use std::collections::BTreeMap;

use mlx_rs::Dtype;
use serde_json::{Map, Value, json};

use super::plan::Plan;
use super::{Float, Options};
use crate::config::Config;
use crate::config::quantization::{Mode, Packing};
use crate::error::Result;

/// Longest `generation_config.json` that is read.
const MAX_GENERATION_BYTES: u64 = 1 << 20;

/// How everything is to be, and the config that it begins from.
pub struct Settings {
    config: Map<String, Value>,
    /// Of matrices; `None` leaves them plain.
    pub packing: Option<Packing>,
    /// Of all other numbers; `None` leaves them as they are.
    pub dtype: Option<Dtype>,
}

impl Settings {
    /// What the options and the folder's configs say.
    pub fn read(source: &Config, options: &Options) -> Result<Self> {
        let mut config: Map<String, Value> = source.args()?;
        if let Some(end) = end_of_generation(options) {
            config.insert("eos_token_id".into(), end);
        }
        if config.get("quantization").is_none()
            && let Some(packed) = config.get("quantization_config")
        {
            // Checkpoints of the model's makers say it in their own words, of which the engine knows these two.
            let packed = match packed.get("quant_method").and_then(Value::as_str) {
                Some("mxfp4") => said(MXFP4),
                Some("mxfp8") => said(MXFP8),
                _ => packed.clone(),
            };
            config.insert("quantization".into(), packed);
        }
        let bits = options.bits.map(u32::cast_signed);
        let packing =
            bits.map(|bits| Packing { mode: Mode::Affine, group_size: options.group_size.cast_signed(), bits });
        let dtype = options.dtype.map(Float::dtype).or_else(|| named_dtype(&config));
        Ok(Self { config, packing, dtype })
    }

    /// The config of what was planned.
    pub fn config(self, plan: &Plan) -> Value {
        let Self { mut config, packing, .. } = self;
        config.shift_remove("_name_or_path");
        // The eyes are not carried over.
        config.shift_remove("vision_config");
        if let Some(packing) = packing {
            // Where some layers are packed already, those that become so are named, each with its way.
            let partly = config.get("quantization").and_then(Value::as_object).cloned();
            let all_named = partly.is_some();
            let Value::Object(usual) = said(packing) else { unreachable!("what is said is an object") };
            let mut quantization = partly.unwrap_or(usual);
            for (path, own) in plan.packed() {
                match own {
                    None if all_named => drop(quantization.insert(path.to_owned(), said(packing))),
                    None => {}
                    Some(Packing { group_size, bits, .. }) => {
                        quantization.insert(path.to_owned(), json!({"group_size": group_size, "bits": bits}));
                    }
                }
            }
            config.insert("quantization".into(), Value::Object(quantization));
        }
        if let Some(quantization) = config.get("quantization").cloned() {
            config.insert("quantization_config".into(), quantization);
        }
        // In order, as mlx-lm writes it.
        json!(config.into_iter().collect::<BTreeMap<_, _>>())
    }
}

const MXFP4: Packing = Packing { mode: Mode::Mxfp4, group_size: 32, bits: 4 };
const MXFP8: Packing = Packing { mode: Mode::Mxfp8, group_size: 32, bits: 8 };

fn said(packing: Packing) -> Value {
    let Packing { mode, group_size, bits } = packing;
    json!({"group_size": group_size, "bits": bits, "mode": mode.name().to_string_lossy()})
}

/// The end token of `generation_config.json`, which mlx-lm believes before that of `config.json`.
fn end_of_generation(options: &Options) -> Option<Value> {
    let path = options.from.join("generation_config.json");
    let file = std::fs::metadata(&path).ok()?;
    if !file.is_file() || file.len() > MAX_GENERATION_BYTES {
        return None;
    }
    let config: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    let end = config.get("eos_token_id")?.clone();
    let is_said = match &end {
        Value::Number(id) => id.as_u64() != Some(0),
        Value::Array(ids) => !ids.is_empty(),
        _ => false,
    };
    is_said.then_some(end)
}

/// What mlx-lm takes for the type of a checkpoint; anything but one of three names means that types stay.
fn named_dtype(config: &Map<String, Value>) -> Option<Dtype> {
    let named = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    let inner = || config.get("text_config").and_then(|text| named(text.get("dtype")));
    let name = named(config.get("torch_dtype")).or_else(inner)?;
    match name.as_str()? {
        "float16" => Some(Dtype::Float16),
        "bfloat16" => Some(Dtype::Bfloat16),
        "float32" => Some(Dtype::Float32),
        _ => None,
    }
}

impl Float {
    fn dtype(self) -> Dtype {
        match self {
            Self::Float16 => Dtype::Float16,
            Self::Bfloat16 => Dtype::Bfloat16,
            Self::Float32 => Dtype::Float32,
        }
    }
}
