//! Bytes of a model from facts of its configuration: plain sums, whose sources are stated.

use protocol::Quantization;
use serde::Deserialize;

use super::fact::{Fact, Wrong, wrong};

/// Room to compute in: what an engine's allocator keeps for reuse at least (`CACHE_BYTES` in `mlx/src/device.rs`).
const SCRATCH_BYTES: u64 = 512 << 20;

/// Tokenizer and configuration, about: 5 MB (Phi 3.5) to 40 MB (Gemma 3).
const TEXT_BYTES: u64 = 20_000_000;

/// Bytes of a number that is not packed, of weights as of keys and values.
const PLAIN_BYTES: u64 = 2;

/// How numbers of a group are kept.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Integers with a scale and a bias.
    Affine,
    /// Floating point of 4 bits with a scale.
    Mxfp4,
    /// The same with a finer scale.
    Nvfp4,
    /// Floating point of 8 bits with a scale.
    Mxfp8,
}

/// How weights are packed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Packing {
    mode: Mode,
    bits: u32,
    group_size: u32,
}

/// Some weights and how they are packed, if they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub parameters: u64,
    pub packing: Option<Packing>,
}

impl Packing {
    /// As an entry writes it; nothing where it writes nothing of it. The forms are those that an engine reads
    /// (`mlx/README.md`).
    pub fn of(mode: Option<Mode>, bits: Option<u32>, group_size: Option<u32>) -> Result<Option<Self>, Wrong> {
        let (own_bits, own_group) = match mode {
            None if bits.is_none() && group_size.is_none() => return Ok(None),
            None | Some(Mode::Affine) => return Self::affine(bits, group_size.unwrap_or(64)).map(Some),
            Some(Mode::Mxfp4) => (4, 32),
            Some(Mode::Nvfp4) => (4, 16),
            Some(Mode::Mxfp8) => (8, 32),
        };
        if bits.is_some_and(|bits| bits != own_bits) {
            return Err(wrong("bits", format!("this mode has {own_bits} bits")));
        }
        if group_size.is_some_and(|size| size != own_group) {
            return Err(wrong("group_size", format!("groups of this mode have {own_group} weights")));
        }
        Ok(mode.map(|mode| Self { mode, bits: own_bits, group_size: own_group }))
    }

    fn affine(bits: Option<u32>, group_size: u32) -> Result<Self, Wrong> {
        let bits = bits.ok_or_else(|| wrong("bits", "weights that are packed need `bits`"))?;
        if ![2, 3, 4, 5, 6, 8].contains(&bits) {
            return Err(wrong("bits", "bits are 2, 3, 4, 5, 6 or 8"));
        }
        if ![32, 64, 128].contains(&group_size) {
            return Err(wrong("group_size", "a group has 32, 64 or 128 weights"));
        }
        Ok(Self { mode: Mode::Affine, bits, group_size })
    }

    pub fn quantization(self) -> Quantization {
        Quantization { bits: self.bits, group_size: self.group_size }
    }

    /// Beside the numbers of a group: affine a scale and a bias of 16 bits, the others a scale of 8 (MLX's `quantize`).
    fn group_bits(self) -> u64 {
        let scale = if self.mode == Mode::Affine { 32 } else { 8 };
        u64::from(self.bits * self.group_size + scale)
    }
}

impl Part {
    fn bytes(&self) -> u64 {
        match self.packing {
            Some(packing) => self.parameters * packing.group_bits() / u64::from(packing.group_size) / 8,
            None => self.parameters * PLAIN_BYTES,
        }
    }
}

/// Bytes of the files of a model, about.
pub(super) fn download_bytes(fact: &Fact) -> u64 {
    weight_bytes(fact) + TEXT_BYTES
}

/// Bytes that a model takes with so many tokens.
pub(super) fn memory_bytes(fact: &Fact, tokens: u64) -> u64 {
    weight_bytes(fact) + kv_bytes(fact, tokens) + SCRATCH_BYTES
}

/// Norms and biases, which are not packed, are less than one part in a hundred and counted as if they were.
fn weight_bytes(fact: &Fact) -> u64 {
    fact.parts.iter().map(Part::bytes).sum()
}

/// A key and a value for each layer, head and token that is kept.
fn kv_bytes(fact: &Fact, tokens: u64) -> u64 {
    let windowed = fact.windowed_layers * tokens.min(fact.window);
    let kept = (fact.layers - fact.windowed_layers) * tokens + windowed;
    kept * 2 * fact.kv_heads * fact.head_dim * PLAIN_BYTES
}

#[cfg(test)]
#[path = "size_tests.rs"]
mod tests;
