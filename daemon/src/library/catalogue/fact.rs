//! What an entry says, and what it must say to count.

use std::ops::RangeInclusive;

use protocol::ModelId;
use serde::Deserialize;
use toml::Table;

use super::size::{Mode, Packing, Part};

/// All keys of an entry.
pub(super) const KEYS: &[&str] = &[
    "id",
    "display_name",
    "architecture",
    "parameters",
    "mode",
    "bits",
    "group_size",
    "weights",
    "layers",
    "windowed_layers",
    "window",
    "kv_heads",
    "head_dim",
    "context_length",
    "license",
    "good_at",
    "machine_gb",
    "default",
    "hidden",
];

/// Numbers of a model: more than any has, and few enough that no size overflows.
const PARAMETERS: RangeInclusive<u64> = 1..=1 << 44;

/// Layers, heads and numbers of one: likewise.
const MAX_LAYERS: u64 = 1 << 16;

/// Tokens of a conversation: likewise.
const MAX_CONTEXT: u64 = 1 << 32;

/// Bytes of a text for people.
const MAX_TEXT: usize = 1000;

/// Parts of the weights that are packed in different ways.
const MAX_PARTS: usize = 16;

/// One entry. The keys are told by the catalogue's own documentation; what is not there is 0, empty or false.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Fact {
    pub id: String,
    pub display_name: Option<String>,
    architecture: Option<String>,
    pub parameters: u64,
    mode: Option<Mode>,
    bits: Option<u32>,
    group_size: Option<u32>,
    weights: Vec<Weights>,
    pub layers: u64,
    pub windowed_layers: u64,
    pub window: u64,
    pub kv_heads: u64,
    pub head_dim: u64,
    pub context_length: u64,
    pub license: Option<String>,
    pub good_at: String,
    pub machine_gb: u32,
    pub default: bool,
    pub hidden: bool,
    /// Its weights, of which the first part is the one that it is known by. None where it is hidden.
    #[serde(skip)]
    pub parts: Vec<Part>,
}

/// Some of the weights.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    parameters: u64,
    mode: Option<Mode>,
    bits: Option<u32>,
    group_size: Option<u32>,
}

/// What is wrong with an entry.
pub(super) struct Wrong {
    /// The key that says it, or does not.
    pub key: &'static str,
    pub why: String,
}

pub(super) fn wrong(key: &'static str, why: impl Into<String>) -> Wrong {
    Wrong { key, why: why.into() }
}

impl Fact {
    /// What a table says, if that can be.
    pub fn of(table: &Table) -> Result<Self, Wrong> {
        let mut fact: Self = table.clone().try_into().map_err(|error: toml::de::Error| wrong("id", error.message()))?;
        if fact.id.is_empty() {
            return Err(wrong("id", "a model needs an `id`, as `org/name`"));
        }
        if !ModelId(fact.id.clone()).is_valid() || !fact.id.contains('/') {
            return Err(wrong("id", format!("{:?} is no id of a model on the hub, which is `org/name`", fact.id)));
        }
        fact.check_lengths()?;
        if !fact.hidden {
            fact.check_architecture()?;
            fact.check_numbers()?;
            fact.parts = fact.read_parts()?;
        }
        Ok(fact)
    }

    /// Whoever shows a catalogue has room for so much; entries that others are laid over are copied.
    fn check_lengths(&self) -> Result<(), Wrong> {
        let texts = [
            ("display_name", self.display_name.as_deref()),
            ("architecture", self.architecture.as_deref()),
            ("license", self.license.as_deref()),
            ("good_at", Some(self.good_at.as_str())),
        ];
        let lengths = texts.map(|(key, text)| (key, text.map_or(0, str::len)));
        if let Some((key, length)) = lengths.into_iter().find(|(_, length)| *length > MAX_TEXT) {
            return Err(wrong(key, format!("`{key}` has {length} bytes, more than the {MAX_TEXT} that are shown")));
        }
        if self.weights.len() > MAX_PARTS {
            return Err(wrong("weights", format!("weights have at most {MAX_PARTS} parts")));
        }
        Ok(())
    }

    fn check_architecture(&self) -> Result<(), Wrong> {
        let Some(architecture) = self.architecture.as_deref() else { return Ok(()) };
        if engine::ARCHITECTURES.contains(&architecture) || engine::ENCODERS.contains(&architecture) {
            return Ok(());
        }
        Err(wrong("architecture", format!("no engine here runs the architecture {architecture:?}")))
    }

    fn check_numbers(&self) -> Result<(), Wrong> {
        let small = [("layers", self.layers), ("kv_heads", self.kv_heads), ("head_dim", self.head_dim)];
        if let Some((key, number)) = small.into_iter().find(|(_, number)| *number > MAX_LAYERS) {
            return Err(wrong(key, format!("no model has {number} {key}")));
        }
        if self.windowed_layers > self.layers {
            return Err(wrong("windowed_layers", "more layers have a window than there are"));
        }
        if (self.windowed_layers == 0) != (self.window == 0) {
            return Err(wrong("windowed_layers", "`windowed_layers` and `window` need each other"));
        }
        if self.context_length > MAX_CONTEXT {
            return Err(wrong("context_length", format!("no model holds {} tokens", self.context_length)));
        }
        Ok(())
    }

    fn read_parts(&self) -> Result<Vec<Part>, Wrong> {
        if self.parameters == 0 {
            return Err(wrong("parameters", "a new model needs `parameters`: how many numbers it has"));
        }
        let whole = part(self.parameters, self.mode, self.bits, self.group_size)?;
        if self.weights.is_empty() {
            return Ok(vec![whole]);
        }
        let parts = self.weights.iter().map(|some| part(some.parameters, some.mode, some.bits, some.group_size));
        parts.collect::<Result<_, _>>().map_err(|Wrong { why, .. }| wrong("weights", why))
    }
}

fn part(parameters: u64, mode: Option<Mode>, bits: Option<u32>, group_size: Option<u32>) -> Result<Part, Wrong> {
    if !PARAMETERS.contains(&parameters) {
        return Err(wrong("parameters", format!("no model has {parameters} parameters")));
    }
    Ok(Part { parameters, packing: Packing::of(mode, bits, group_size)? })
}
