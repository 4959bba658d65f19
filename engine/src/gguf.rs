//! The header of a GGUF file, versions 2 and 3: metadata and where each tensor lies.
//!
//! Files come from anywhere: every count, length, dimension and offset is checked against the file before memory is
//! taken for it, and no tensor is readable that does not lie inside the file, apart from all others. What the
//! metadata means, and with which encodings anything can be done, is none of this module's business. Called by the
//! daemon's library and by engines that read such files.

mod encoding;
mod metadata;
mod source;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use encoding::Encoding;
pub use metadata::{Lists, Metadata};
use source::Source;

/// Most tensors of a file; the largest models have a few thousand.
const MAX_TENSORS: u64 = 1 << 16;

/// Longest name of a tensor, four times what llama.cpp takes.
const MAX_NAME_BYTES: u64 = 256;

/// Why a file cannot be understood, in words that name the part.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file is cut short or contradicts itself.
    #[error("{0}")]
    Damaged(String),
    /// The file is sound, but this is more than is known here, or there.
    #[error("{0}")]
    NotSupported(String),
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open file whose header is sound.
#[derive(Debug)]
pub struct Gguf {
    file: File,
    /// Where it is, for words.
    pub path: PathBuf,
    /// What stands before the tensors.
    pub header: Header,
}

/// What stands before the tensors.
#[derive(Debug)]
pub struct Header {
    /// Typed values by key.
    pub metadata: Metadata,
    /// In the order of the file.
    pub tensors: Vec<Tensor>,
    /// Places in `tensors`.
    by_name: HashMap<String, usize>,
}

/// Where one tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Of at most 256 bytes, and no other tensor's.
    pub name: String,
    /// Outermost dimension first, as everywhere but in GGUF; one to four, none of them 0.
    pub shape: Vec<u64>,
    /// How its numbers are written.
    pub encoding: Encoding,
    /// From the start of the file.
    offset: u64,
    /// 0 for an encoding of unknown size.
    pub bytes: u64,
}

impl Gguf {
    /// Reads the header of an open file, which is at `path`.
    pub fn new(file: File, path: &Path, lists: Lists) -> Result<Self, GgufError> {
        let length = file.metadata()?.len();
        let header = Header::read(BufReader::new(&file), length, lists)?;
        Ok(Self { file, path: path.to_path_buf(), header })
    }

    /// Fills `buffer` with a tensor's bytes from `start` on, which must lie inside it.
    pub fn read_at(&self, tensor: &Tensor, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(start + buffer.len() as u64 <= tensor.bytes, "reads stay inside {}", tensor.name);
        self.file.read_exact_at(buffer, tensor.offset + start)
    }
}

impl Header {
    /// Reads the header of a file of `file_bytes`.
    pub fn read(from: impl Read, file_bytes: u64, lists: Lists) -> Result<Self, GgufError> {
        let mut source = Source::new(from, file_bytes);
        source.at("the magic number");
        if source.array::<4>()? != *b"GGUF" {
            return Err(GgufError::Damaged("the file is no GGUF file: it does not begin with GGUF".into()));
        }
        source.at("the version");
        match source.u32()? {
            2 | 3 => {}
            version if matches!(version.swap_bytes(), 1..=3) => {
                let text = "the file is big-endian GGUF: convert it to little-endian with gguf-convert-endian";
                return Err(GgufError::NotSupported(text.into()));
            }
            version => {
                let text = format!("the file is GGUF of version {version}, only 2 and 3 are known: convert it anew");
                return Err(GgufError::NotSupported(text));
            }
        }
        source.at("the number of tensors");
        let tensor_count = source.u64()?;
        if tensor_count > MAX_TENSORS {
            let text = format!("the file claims {tensor_count} tensors, more than the {MAX_TENSORS} that are read");
            return Err(GgufError::Damaged(text));
        }
        let metadata = Metadata::read(&mut source, lists)?;
        let alignment = alignment(&metadata)?;
        let mut tensors = Vec::new();
        for number in 1..=tensor_count {
            source.at(&format!("the entry of tensor {number} of {tensor_count}"));
            tensors.push(Tensor::read(&mut source)?);
        }
        let data_start = source.position().next_multiple_of(alignment);
        let by_name = named(&tensors)?;
        place(&mut tensors, data_start, alignment, file_bytes)?;
        Ok(Self { metadata, tensors, by_name })
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name).map(|place| &self.tensors[*place])
    }
}

impl Tensor {
    /// One entry; its offset is still relative to the data and unchecked.
    fn read(source: &mut Source<impl Read>) -> Result<Self, GgufError> {
        let name = source.text(MAX_NAME_BYTES)?;
        let damaged = |what: String| GgufError::Damaged(format!("tensor {name}: {what}"));
        let dimensions = source.u32()?;
        if !(1..=4).contains(&dimensions) {
            return Err(damaged(format!("it has {dimensions} dimensions, but must have 1 to 4")));
        }
        let mut shape = Vec::with_capacity(4);
        for _ in 0..dimensions {
            shape.push(source.u64()?);
        }
        let encoding = Encoding::of(source.u32()?);
        let offset = source.u64()?;
        let numbers = shape.iter().try_fold(1_u64, |product, n| product.checked_mul(*n)).filter(|product| *product > 0);
        let numbers = numbers.ok_or_else(|| damaged(format!("its shape {shape:?} is impossible")))?;
        let (block, block_bytes) = encoding.block();
        if !shape[0].is_multiple_of(block) {
            return Err(damaged(format!("its rows of {} numbers are not whole blocks of {block}", shape[0])));
        }
        let bytes = (numbers / block).checked_mul(block_bytes);
        let bytes = bytes.ok_or_else(|| damaged(format!("its shape {shape:?} is larger than any file")))?;
        shape.reverse();
        Ok(Self { name, shape, encoding, offset, bytes })
    }

    /// Numbers of one row.
    pub fn width(&self) -> u64 {
        self.shape.last().copied().unwrap_or_default()
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.shape.iter().rev().skip(1).product()
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> u64 {
        self.bytes / self.rows()
    }
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    let alignment = metadata.unsigned("general.alignment")?.unwrap_or(32);
    if alignment.is_power_of_two() && alignment <= 1 << 16 {
        return Ok(alignment);
    }
    Err(GgufError::Damaged(format!("general.alignment is {alignment}, but must be a power of two up to 65536")))
}

/// The place of each tensor by its name.
fn named(tensors: &[Tensor]) -> Result<HashMap<String, usize>, GgufError> {
    let mut by_name = HashMap::with_capacity(tensors.len());
    for (place, tensor) in tensors.iter().enumerate() {
        if by_name.insert(tensor.name.clone(), place).is_some() {
            return Err(GgufError::Damaged(format!("tensor {}: the name occurs twice", tensor.name)));
        }
    }
    Ok(by_name)
}

/// Makes offsets absolute once all tensors are seen to lie apart, inside the file and aligned.
fn place(tensors: &mut [Tensor], data_start: u64, alignment: u64, file_bytes: u64) -> Result<(), GgufError> {
    for tensor in &mut *tensors {
        let damaged = |what: String| GgufError::Damaged(format!("tensor {}: {what}", tensor.name));
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(damaged(format!("its offset {} is no multiple of {alignment}", tensor.offset)));
        }
        let start = data_start.checked_add(tensor.offset);
        match start.and_then(|start| start.checked_add(tensor.bytes)) {
            Some(end) if end <= file_bytes => tensor.offset += data_start,
            _ => {
                return Err(damaged(format!(
                    "its {} bytes at {} of the data end past the file, which has {file_bytes} bytes: the file is cut \
                     short, get it again",
                    tensor.bytes, tensor.offset
                )));
            }
        }
    }
    let mut placed: Vec<&Tensor> = tensors.iter().collect();
    placed.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
    for pair in placed.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(GgufError::Damaged(format!("tensors {} and {} overlap", pair[0].name, pair[1].name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod fixture;

#[cfg(test)]
#[path = "gguf_tests.rs"]
mod tests;
