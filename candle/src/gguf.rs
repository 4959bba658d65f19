//! A GGUF file: its tensors by the names that checkpoints on the hub have, each read once, as ggml packed it.

mod header;
mod names;
mod settings;

use std::borrow::Cow;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use serde_json::Value;

use self::header::{Entry, Header};
use crate::error::{Error, Result};

pub use settings::config;

/// An open file whose header is sound.
pub struct Gguf {
    file: File,
    path: PathBuf,
    header: Header,
}

impl Gguf {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        let broken = |why: String| Error::Broken(format!("{}: {why}", path.display()));
        let file = File::open(path).map_err(|error| broken(error.to_string()))?;
        let length = file.metadata().map_err(|error| broken(error.to_string()))?.len();
        let header = Header::read(BufReader::new(&file), length).map_err(broken)?;
        let gguf = Self { file, path: path.to_path_buf(), header };
        match gguf.entry("split.count").and_then(Value::as_u64) {
            None | Some(0 | 1) => Ok(gguf),
            Some(count) => Err(Error::NotSupported(format!(
                "{} is one of {count} parts: join them with llama-gguf-split",
                gguf.path()
            ))),
        }
    }

    /// Where it is, for words.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// All bytes of tensors.
    pub fn bytes(&self) -> u64 {
        self.header.tensors.values().map(|entry| entry.bytes).sum()
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// The tensor on `device`, and how many bytes of the file it takes. Of a matrix of queries or keys, `heads` says how many
    /// there are.
    pub fn tensor(&self, name: &str, shape: &[usize], heads: Option<usize>, device: &Device) -> Result<(QTensor, u64)> {
        let (theirs, entry) = self.find(name)?;
        if entry.shape != shape {
            let found = &entry.shape;
            return Err(Error::Broken(format!("{theirs} has the shape {found:?}, but must have {shape:?}")));
        }
        let (bytes, dtype) = self.read(&theirs, entry)?;
        let bytes = match heads.filter(|_| self.is_permuted()) {
            Some(heads) => halves(&bytes, shape[0], heads),
            None => bytes,
        };
        let storage = QStorage::from_data(Cow::Owned(bytes), device, dtype)?;
        Ok((QTensor::new(storage, shape)?, entry.bytes))
    }

    /// What kind of model it says to be.
    fn architecture(&self) -> Result<&str> {
        let name = self.entry("general.architecture").and_then(Value::as_str);
        name.ok_or_else(|| Error::Broken(format!("{}: no text under general.architecture", self.path())))
    }

    fn entry(&self, key: &str) -> Option<&Value> {
        self.header.entries.get(key)
    }

    fn rows(&self, name: &str) -> Result<usize> {
        Ok(self.find(name)?.1.shape[0])
    }

    /// The numbers of a small tensor by its own name, where there is one.
    fn numbers(&self, theirs: &str) -> Result<Option<Vec<f32>>> {
        let Some(entry) = self.header.tensors.get(theirs) else { return Ok(None) };
        let (bytes, dtype) = self.read(theirs, entry)?;
        if dtype != GgmlDType::F32 || entry.shape.len() != 1 {
            return Err(Error::Broken(format!("{theirs} is no list of float32 numbers")));
        }
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(Some(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()))
    }

    fn read(&self, theirs: &str, entry: &Entry) -> Result<(Vec<u8>, GgmlDType)> {
        let dtype = entry.dtype.map_err(|number| {
            Error::NotSupported(format!(
                "{theirs} is packed as {}, which is not known to Candle, only F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 \
                 and Q2_K to Q6_K: convert the model to one of these",
                type_name(number)
            ))
        })?;
        let mut bytes = vec![0; entry.bytes as usize];
        let read = self.file.read_exact_at(&mut bytes, entry.offset);
        read.map_err(|error| Error::Broken(format!("{}: {theirs}: {error}", self.path())))?;
        Ok((bytes, dtype))
    }

    fn find(&self, name: &str) -> Result<(String, &Entry)> {
        let theirs = names::of(name, self.is_later_gemma());
        let entry = theirs.as_ref().and_then(|theirs| self.header.tensors.get(theirs));
        let missing = || Error::Broken(format!("the weights have no {}", theirs.as_deref().unwrap_or(name)));
        let entry = entry.ok_or_else(missing)?;
        Ok((theirs.clone().unwrap_or_default(), entry))
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

fn type_name(number: u32) -> String {
    let name = match number {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("type {number}"),
    };
    name.into()
}
