//! How the tensors of one layer are packed: by their shapes, which the config must not contradict.

use std::collections::{BTreeSet, HashMap};

use mlx_rs::{Array, Dtype};

use super::Weights;
use crate::config::quantization::{Layer, Layers, Packing};
use crate::error::{Error, Result};

/// The layers that the config names and no tensor belongs to.
pub fn without_tensors(layers: &Layers, arrays: &HashMap<String, Array>) -> BTreeSet<String> {
    let paths: BTreeSet<&str> = arrays.keys().filter_map(|name| name.rsplit_once('.')).map(|(path, _)| path).collect();
    layers.keys().filter(|path| !paths.contains(path.as_str())).cloned().collect()
}

impl Weights<'_> {
    /// How the numbers of `path` are packed, `columns` in a row; `None` for plain ones.
    pub fn packing(&mut self, path: &str, columns: i32) -> Result<Option<Packing>> {
        let packing = self.checked_packing(path, columns)?;
        if let Some(recording) = &mut self.recording {
            recording.matrix(path, packing);
        }
        Ok(packing)
    }

    fn checked_packing(&mut self, path: &str, columns: i32) -> Result<Option<Packing>> {
        self.unknown.remove(path);
        let said = self.quantization.get(path).copied();
        if !self.has(path, "scales") {
            return match said {
                Some(said @ Layer::Packed { .. }) => {
                    Err(self.broken(&format!("config.json says that {path} is {said}, but no file has {path}.scales")))
                }
                _ => Ok(None),
            };
        }
        let packing = self.packing_of_shapes(path, columns)?;
        match said {
            Some(said) if !said.is(packing) => Err(self.broken(&format!(
                "config.json says that {path} is {said}, but its tensors have the shapes of {packing}"
            ))),
            _ => Ok(Some(packing)),
        }
    }

    fn packing_of_shapes(&self, path: &str, columns: i32) -> Result<Packing> {
        let last = |array: &Array| array.shape().last().copied().unwrap_or(0);
        let (weight, scales) = (self.find(&format!("{path}.weight"))?, self.find(&format!("{path}.scales"))?);
        let (words, groups, dtype) = (last(weight), last(scales), scales.dtype());
        if dtype == Dtype::Uint8 && self.has(path, "biases") {
            return Err(Error::NotSupported(format!("{path}.scales holds numbers of type {dtype:?} beside biases")));
        }
        Packing::of(columns, words, groups, dtype).ok_or_else(|| {
            self.broken(&format!(
                "{path} has {words} words and {groups} scales in a row, which do not fit {columns} numbers"
            ))
        })
    }
}
