//! What a conversion learns from a load: which tensors the layers of a model take, in the form in which they take them.
//!
//! Layers get stand-ins of the same shape and type, of one number each, so that a load of this kind reads no file and
//! holds nothing. What it finds missing, left over or of the wrong shape is found before anything is converted.

use std::collections::{BTreeMap, BTreeSet};

use mlx_rs::{Array, ops};

use super::Weights;
use crate::config::quantization::Packing;
use crate::device::WeightPolicy;
use crate::error::Result;

/// The tensors taken so far.
#[derive(Default)]
pub(super) struct Recording {
    tensors: Vec<(String, &'static str, Array)>,
    /// Layers that multiply with a matrix, and how those are packed that are.
    matrices: BTreeMap<String, Option<Packing>>,
    finer: BTreeSet<String>,
    prefix: &'static str,
}

/// A tensor that a layer took.
pub struct Recorded {
    /// Its layer, under the name of a whole checkpoint.
    pub path: String,
    /// Which of the layer's tensors it is.
    pub part: &'static str,
    /// Not yet read.
    pub array: Array,
    /// What the layer does with it.
    pub role: Role,
}

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Plain numbers of a matrix, which may be packed.
    Matrix(Fineness),
    /// Part of a matrix that is packed already.
    Packed(Packing),
    /// What stays as it is: norms, biases, convolutions.
    Other,
}

/// How a matrix wants to be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fineness {
    /// Like all others.
    Usual,
    /// In 8 bits, whatever the others get: little depends on as few numbers as on a router's.
    Fine,
}

impl Recording {
    /// Notes a tensor and returns its stand-in.
    pub(super) fn take(&mut self, path: &str, part: &'static str, array: Array) -> Result<Array> {
        let number = Array::from_f32(0.0).as_dtype(array.dtype())?;
        let stand_in = ops::broadcast_to(&number, array.shape())?;
        self.tensors.push((path.to_owned(), part, array));
        Ok(stand_in)
    }

    /// Notes that a layer multiplies with its weight, which is packed like this.
    pub(super) fn matrix(&mut self, path: &str, packing: Option<Packing>) {
        self.matrices.insert(path.to_owned(), packing);
    }

    fn tensors(self) -> Vec<Recorded> {
        let Self { tensors, matrices, finer, prefix } = self;
        let role = |path: &str, part| match matrices.get(path) {
            // What is added after a product is no part of the matrix.
            _ if part == "bias" => Role::Other,
            Some(Some(packing)) => Role::Packed(*packing),
            Some(None) if finer.contains(path) => Role::Matrix(Fineness::Fine),
            Some(None) => Role::Matrix(Fineness::Usual),
            None => Role::Other,
        };
        let recorded = tensors.into_iter().map(|(path, part, array)| {
            let role = role(&path, part);
            Recorded { path: format!("{prefix}{path}"), part, array, role }
        });
        recorded.collect()
    }
}

impl Weights<'_> {
    /// From now on tensors are noted when they are taken, and not read.
    pub fn recording(mut self) -> Self {
        self.policy = WeightPolicy::RECORDED;
        self.recording = Some(Recording::default());
        self
    }

    /// What mlx-lm's `quant_predicate` says of this layer: its matrix keeps 8 bits in groups of 64 when all others are
    /// packed in fewer. Means nothing to a load.
    pub fn keep_fine(&mut self, path: &str) {
        if let Some(recording) = &mut self.recording {
            recording.finer.insert(path.to_owned());
        }
    }

    /// What mlx-lm's checkpoints have before the names that the model knows. Means nothing to a load.
    pub fn within(&mut self, prefix: &'static str) {
        if let Some(recording) = &mut self.recording {
            recording.prefix = prefix;
        }
    }

    /// Ends a load that was recorded: the tensors in the order in which they were taken, or what [`Self::finish`] finds.
    pub fn recorded(mut self) -> Result<Vec<Recorded>> {
        let tensors = self.recording.take().map(Recording::tensors).unwrap_or_default();
        self.finish()?;
        Ok(tensors)
    }
}
