//! A GGUF file: its tensors by the names that checkpoints on the hub have, each read once, as ggml packed it.

mod names;
mod settings;

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use engine::gguf::{self, Encoding, GgufError, Lists, Tensor};
use serde_json::Value;

use crate::error::{Error, Result};

pub use settings::config;

/// An open file whose header is sound.
pub struct Gguf(gguf::Gguf);

impl Gguf {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(GgufError::from);
        let gguf = file.and_then(|file| gguf::Gguf::new(file, path, Lists::PassedOver));
        let gguf = Self(gguf.map_err(|error| refused(path, &error))?);
        match gguf.entry("split.count").as_ref().and_then(Value::as_u64) {
            None | Some(0 | 1) => Ok(gguf),
            Some(count) => Err(Error::NotSupported(format!(
                "{} is one of {count} parts: join them with llama-gguf-split",
                gguf.path()
            ))),
        }
    }

    /// Where it is, for words.
    pub fn path(&self) -> String {
        self.0.path.display().to_string()
    }

    /// All bytes of tensors.
    pub fn bytes(&self) -> u64 {
        self.0.header.tensors.iter().map(|tensor| tensor.bytes).sum()
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// The tensor on `device`, and how many bytes of the file it takes. Of a matrix of queries or keys, `heads` says how many
    /// there are.
    pub fn tensor(&self, name: &str, shape: &[usize], heads: Option<usize>, device: &Device) -> Result<(QTensor, u64)> {
        let tensor = self.find(name)?;
        if !tensor.shape.iter().copied().eq(shape.iter().map(|n| *n as u64)) {
            let (theirs, found) = (&tensor.name, &tensor.shape);
            return Err(Error::Broken(format!("{theirs} has the shape {found:?}, but must have {shape:?}")));
        }
        let (bytes, dtype) = self.read(tensor)?;
        let bytes = match heads.filter(|_| self.is_permuted()) {
            Some(heads) => halves(&bytes, shape[0], heads),
            None => bytes,
        };
        let storage = QStorage::from_data(Cow::Owned(bytes), device, dtype)?;
        Ok((QTensor::new(storage, shape)?, tensor.bytes))
    }

    /// What kind of model it says to be.
    fn architecture(&self) -> Result<&str> {
        let name = self.0.header.metadata.text("general.architecture");
        name.ok().flatten().ok_or_else(|| Error::Broken(format!("{}: no text under general.architecture", self.path())))
    }

    fn entry(&self, key: &str) -> Option<Value> {
        self.0.header.metadata.json(key)
    }

    fn rows(&self, name: &str) -> Result<usize> {
        Ok(self.find(name)?.shape[0] as usize)
    }

    /// The numbers of a small tensor by its own name, where there is one.
    fn numbers(&self, theirs: &str) -> Result<Option<Vec<f32>>> {
        let Some(tensor) = self.0.header.tensor(theirs) else { return Ok(None) };
        let (bytes, dtype) = self.read(tensor)?;
        if dtype != GgmlDType::F32 || tensor.shape.len() != 1 {
            return Err(Error::Broken(format!("{theirs} is no list of float32 numbers")));
        }
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(Some(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()))
    }

    fn read(&self, tensor: &Tensor) -> Result<(Vec<u8>, GgmlDType)> {
        let (theirs, encoding) = (&tensor.name, tensor.encoding);
        let dtype = dtype(encoding).ok_or_else(|| {
            Error::NotSupported(format!(
                "{theirs} is {encoding}, which is not known to Candle, only F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and \
                 Q2_K to Q6_K: convert the model to one of these"
            ))
        })?;
        let mut bytes = vec![0; tensor.bytes as usize];
        let read = self.0.read_at(tensor, 0, &mut bytes);
        read.map_err(|error| Error::Broken(format!("{}: {theirs}: {error}", self.path())))?;
        Ok((bytes, dtype))
    }

    fn find(&self, name: &str) -> Result<&Tensor> {
        let theirs = names::of(name, self.is_later_gemma());
        let tensor = theirs.as_ref().and_then(|theirs| self.0.header.tensor(theirs));
        let missing = || Error::Broken(format!("the weights have no {}", theirs.as_deref().unwrap_or(name)));
        tensor.ok_or_else(missing)
    }

    /// Gemma 2 and 3, which have norms after each part.
    fn is_later_gemma(&self) -> bool {
        self.architecture().is_ok_and(|name| ["gemma2", "gemma3"].contains(&name))
    }

    /// llama.cpp rotates neighbours in models that it calls llama, and has their rows in an order for that.
    fn is_permuted(&self) -> bool {
        self.architecture().is_ok_and(|name| name == "llama")
    }
}

/// Rows of neighbours to rows of halves: of each head, those at even places come first.
fn halves(bytes: &[u8], rows: usize, heads: usize) -> Vec<u8> {
    let (width, dims) = (bytes.len() / rows, rows / heads);
    let mut ordered = Vec::with_capacity(bytes.len());
    for row in 0..rows {
        let (head, place) = (row / dims, row % dims);
        let theirs = head * dims + place % (dims / 2) * 2 + place / (dims / 2);
        ordered.extend_from_slice(&bytes[theirs * width..][..width]);
    }
    ordered
}

fn refused(path: &Path, error: &GgufError) -> Error {
    let words = format!("{}: {error}", path.display());
    match error {
        GgufError::NotSupported(_) => Error::NotSupported(words),
        GgufError::Damaged(_) | GgufError::Io(_) => Error::Broken(words),
    }
}

/// The types that Candle multiplies with.
fn dtype(encoding: Encoding) -> Option<GgmlDType> {
    Some(match encoding {
        Encoding::F32 => GgmlDType::F32,
        Encoding::F16 => GgmlDType::F16,
        Encoding::BF16 => GgmlDType::BF16,
        Encoding::Q4_0 => GgmlDType::Q4_0,
        Encoding::Q4_1 => GgmlDType::Q4_1,
        Encoding::Q5_0 => GgmlDType::Q5_0,
        Encoding::Q5_1 => GgmlDType::Q5_1,
        Encoding::Q8_0 => GgmlDType::Q8_0,
        Encoding::Q2K => GgmlDType::Q2K,
        Encoding::Q3K => GgmlDType::Q3K,
        Encoding::Q4K => GgmlDType::Q4K,
        Encoding::Q5K => GgmlDType::Q5K,
        Encoding::Q6K => GgmlDType::Q6K,
        Encoding::Other(_) => return None,
    })
}
