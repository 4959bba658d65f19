//! The tensors of a model folder, taken one by one by the layers that own them.
//!
//! Headers are checked before MLX sees a file: MLX trusts them, and reads a file only when an array is first needed.
//! A tensor is counted when it is taken, and begins to be read and cast then; the next ones may be taken meanwhile. MLX
//! has a few under way at most, so that no more than these are held in two copies.

mod files;
mod header;
mod needs;
mod packing;
mod recording;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use mlx_rs::error::IoError;
use mlx_rs::{Array, Dtype, transforms};

use self::files::File;
use self::recording::Recording;
use crate::array::is_float;
use crate::config::quantization::Layers;
use crate::device::{Device, WeightPolicy};
use crate::error::{Error, Result};

pub use self::recording::{Fineness, Recorded, Role};

/// Names that one error message lists.
const NAMED: usize = 5;

/// The tensors not yet taken.
pub struct Weights<'a> {
    arrays: HashMap<String, Array>,
    /// What the config says of the quantization of single layers.
    quantization: Layers,
    /// Those of them that no tensor and no layer has been found of yet.
    unknown: BTreeSet<String>,
    policy: WeightPolicy,
    /// For a conversion: what was taken.
    recording: Option<Recording>,
    folder: &'a Path,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
    /// Bytes of the tensors as they are held after casts.
    held: u64,
}

impl<'a> Weights<'a> {
    /// Finds the weight files of `folder` and checks them. Reads no tensor yet.
    pub fn open(
        folder: &'a Path,
        quantization: &Layers,
        device: &Device,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Result<Self> {
        let files = files::find(folder)?;
        let total = files.iter().map(|file| file.bytes).sum();
        let mut arrays = HashMap::new();
        for file in &files {
            for (name, array) in device.reading(|| load(file))? {
                if arrays.insert(name.clone(), array).is_some() {
                    return Err(Error::Broken(format!("{}: {name} is also in another file", file.path.display())));
                }
            }
        }
        progress(0, total);
        let (policy, quantization) = (device.weights, quantization.clone());
        let unknown = packing::without_tensors(&quantization, &arrays);
        Ok(Self { arrays, quantization, unknown, policy, recording: None, folder, progress, done: 0, total, held: 0 })
    }

    /// Whether there is a tensor `path.part`.
    pub fn has(&self, path: &str, part: &str) -> bool {
        self.arrays.contains_key(&format!("{path}.{part}"))
    }

    /// The floating-point tensor `path.part`, on its way to memory and in the device's type. Its shape must be `shape`.
    pub fn take(&mut self, path: &str, part: &'static str, shape: &[i32]) -> Result<Array> {
        self.take_if(path, part, shape, is_float)
    }

    /// The packed bits `path.part`, or their scales where those are bytes, on their way to memory.
    pub fn take_packed(&mut self, path: &str, part: &'static str, shape: &[i32], dtype: Dtype) -> Result<Array> {
        self.take_if(path, part, shape, |found| found == dtype)
    }

    /// The tensor of this name as it is in its file, to be put back in another form; `None` if there is none.
    pub fn remove(&mut self, name: &str) -> Option<Array> {
        self.arrays.remove(name)
    }

    /// Puts a tensor among those to be taken.
    pub fn insert(&mut self, name: String, array: Array) -> Result<()> {
        if self.arrays.contains_key(&name) {
            return Err(self.broken(&format!("{name} is there in two forms")));
        }
        self.arrays.insert(name, array);
        Ok(())
    }

    fn take_if(
        &mut self,
        path: &str,
        part: &'static str,
        shape: &[i32],
        fits: impl Fn(Dtype) -> bool,
    ) -> Result<Array> {
        let name = format!("{path}.{part}");
        let array = self.arrays.remove(&name).ok_or_else(|| self.missing(&name))?;
        if !fits(array.dtype()) {
            return Err(Error::NotSupported(format!("{name} holds numbers of type {:?}", array.dtype())));
        }
        if array.shape() != shape {
            let found = array.shape();
            return Err(self.broken(&format!("{name} has shape {found:?}, but {shape:?} follows from config.json")));
        }
        let bytes = array.nbytes() as u64;
        if let Some(recording) = &mut self.recording {
            return recording.take(path, part, array);
        }
        let array = match self.policy.cast {
            Some(dtype) if is_float(array.dtype()) => array.as_dtype(dtype)?,
            _ => array,
        };
        transforms::async_eval([&array])?;
        self.held += array.nbytes() as u64;
        self.count(bytes);
        Ok(array)
    }

    /// Whether quantized matrices are kept as plain numbers.
    pub fn unpacks(&self) -> bool {
        self.total <= self.policy.unpack_bytes
    }

    /// Whether matrices with the same input are made one.
    pub fn joins(&self) -> bool {
        self.policy.joins
    }

    /// Rows from which on one product is faster with a matrix unpacked for it.
    pub fn unpack_rows(&self) -> Option<usize> {
        self.policy.unpack_rows
    }

    /// Whether vectors of several sequences are multiplied as the rows of one matrix.
    pub fn flattens(&self) -> bool {
        self.policy.flattens
    }

    /// The type that floating-point tensors are held in, if it is one for all.
    pub fn cast(&self) -> Option<Dtype> {
        self.policy.cast
    }

    /// Counts `new` bytes held instead of `old`.
    pub fn replace(&mut self, old: usize, new: usize) {
        self.held = self.held - old as u64 + new as u64;
    }

    /// Forgets the tensors that a model does not need.
    pub fn discard(&mut self, unneeded: impl Fn(&str) -> bool) {
        self.rename(|name| (!unneeded(name)).then(|| name.to_owned()));
    }

    /// Gives the tensors the names that their model knows, and forgets those that get none.
    pub fn rename(&mut self, new_name: impl Fn(&str) -> Option<String>) {
        let mut bytes = 0;
        for (name, array) in std::mem::take(&mut self.arrays) {
            match new_name(&name) {
                Some(name) => drop(self.arrays.insert(name, array)),
                None => bytes += array.nbytes() as u64,
            }
        }
        self.count(bytes);
        let layers = std::mem::take(&mut self.quantization).into_iter();
        self.quantization = layers.filter_map(|(path, said)| Some((new_name(&path)?, said))).collect();
        self.unknown = std::mem::take(&mut self.unknown).iter().filter_map(|path| new_name(path)).collect();
    }

    /// Ends the load: bytes held in memory, or an error when tensors are left over or the config names other layers.
    pub fn finish(self) -> Result<u64> {
        if let Some(path) = self.unknown.first() {
            return Err(self.broken(&format!("config.json says how {path} is quantized, but there is no such layer")));
        }
        if !self.arrays.is_empty() {
            let mut names: Vec<_> = self.arrays.keys().map(String::as_str).collect();
            names.sort_unstable();
            let shown = names[..names.len().min(NAMED)].join(", ");
            return Err(self.broken(&format!("{} tensors belong to no layer: {shown}", names.len())));
        }
        (self.progress)(self.total, self.total);
        Ok(self.held)
    }

    /// That the tensors contradict each other or the config.
    pub fn broken(&self, why: &str) -> Error {
        Error::Broken(format!("{}: {why}", self.folder.display()))
    }

    fn find(&self, name: &str) -> Result<&Array> {
        self.arrays.get(name).ok_or_else(|| self.missing(name))
    }

    /// That no file has this tensor.
    pub fn missing(&self, name: &str) -> Error {
        self.broken(&format!("no weight file has the tensor {name}"))
    }

    fn count(&mut self, bytes: u64) {
        // Headers are part of the total, so this stays below it.
        self.done += bytes;
        (self.progress)(self.done, self.total);
    }
}

/// The arrays of one file.
fn load(file: &File) -> Result<HashMap<String, Array>> {
    let arrays = Array::load_safetensors(&file.path);
    let why = |error| match error {
        IoError::Exception(error) => error.what().to_owned(),
        error => error.to_string(),
    };
    arrays.map_err(|error| Error::Broken(format!("{}: {}", file.path.display(), why(error))))
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
