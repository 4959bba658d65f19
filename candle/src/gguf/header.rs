//! The header of a GGUF file, versions 2 and 3: single values by key, and where each tensor lies.
//!
//! Files come from anywhere: every count, length, dimension and offset is checked against the file before memory is taken
//! for it. Lists of values, which only tokenizers need, are passed over.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};

use candle_core::quantized::GgmlDType;
use serde_json::Value;

/// Most tensors and most entries of a file; the largest real ones have a few thousand.
const MAX_COUNT: u64 = 1 << 16;

/// Longest name, as the format has it.
const MAX_NAME_BYTES: u64 = 65_535;

/// Longest text of an entry that is kept; longer ones are templates.
const MAX_TEXT_BYTES: u64 = 1024;

/// What is wrong, with the place in the file.
pub type Result<T> = std::result::Result<T, String>;

/// What stands before the numbers.
#[derive(Debug)]
pub struct Header {
    /// Numbers, truths and short texts.
    pub entries: BTreeMap<String, Value>,
    pub tensors: BTreeMap<String, Entry>,
}

/// Where one tensor lies.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Rows first, as everywhere but in GGUF.
    pub shape: Vec<usize>,
    /// How its numbers are written; ggml's number of a way that Candle cannot multiply with.
    pub dtype: std::result::Result<GgmlDType, u32>,
    /// From the start of the file.
    pub offset: u64,
    /// 0 for a type that is not known.
    pub bytes: u64,
}

/// What is left of the file, and what is read at the moment.
struct Source<R> {
    from: R,
    left: u64,
    place: String,
}

impl Header {
    /// Reads the header of a file of `file_bytes`.
    pub fn read(from: impl Read, file_bytes: u64) -> Result<Self> {
        let mut source = Source { from, left: file_bytes, place: "the magic number".into() };
        if source.array::<4>()? != *b"GGUF" {
            return Err("it does not begin with GGUF".into());
        }
        let version = source.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("it is GGUF of version {version}, only 2 and 3 are known: convert it anew"));
        }
        source.place = "the number of tensors".into();
        let tensor_count = source.count()?;
        source.place = "the number of entries".into();
        let entry_count = source.count()?;
        let entries = entries(&mut source, entry_count)?;
        let mut tensors = BTreeMap::new();
        for number in 1..=tensor_count {
            source.place = format!("tensor {number} of {tensor_count}");
            let name = source.text(MAX_NAME_BYTES)?;
            let entry = Entry::read(&mut source).map_err(|why| format!("tensor {name}: {why}"))?;
            if tensors.insert(name.clone(), entry).is_some() {
                return Err(format!("tensor {name} occurs twice"));
            }
        }
        let alignment = entries.get("general.alignment").map_or(Some(32), Value::as_u64);
        let alignment = alignment.filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 16);
        let alignment = alignment.ok_or("general.alignment is no power of two up to 65536")?;
        place(&mut tensors, (file_bytes - source.left).next_multiple_of(alignment), file_bytes)?;
        Ok(Self { entries, tensors })
    }
}

impl Entry {
    /// Its offset is relative to the start of the numbers, and unchecked.
    fn read(source: &mut Source<impl Read>) -> Result<Self> {
        let dimensions = source.u32()?;
        if !(1..=4).contains(&dimensions) {
            return Err(format!("it has {dimensions} dimensions, but must have 1 to 4"));
        }
        let mut shape = Vec::with_capacity(4);
        for _ in 0..dimensions {
            shape.push(source.u64()?);
        }
        let dtype = source.u32()?;
        let dtype = known(dtype).ok_or(dtype);
        let offset = source.u64()?;
        let numbers = shape.iter().try_fold(1_u64, |product, n| product.checked_mul(*n)).filter(|product| *product > 0);
        let numbers = numbers.ok_or_else(|| format!("its shape {shape:?} is impossible"))?;
        let mut bytes = 0;
        if let Ok(dtype) = dtype {
            let block = dtype.block_size() as u64;
            if !shape[0].is_multiple_of(block) {
                return Err(format!("its rows of {} numbers are not whole blocks of {block}", shape[0]));
            }
            bytes = (numbers / block).checked_mul(dtype.type_size() as u64).ok_or("it is larger than any file")?;
        }
        let shape = shape.into_iter().rev().map(|n| n as usize).collect();
        Ok(Self { shape, dtype, offset, bytes })
    }
}

/// The types that Candle multiplies with.
fn known(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

/// Makes offsets absolute once all tensors are seen to lie in the file. Together they are no larger than it: none of its
/// bytes can be loaded many times over.
fn place(tensors: &mut BTreeMap<String, Entry>, start: u64, file_bytes: u64) -> Result<()> {
    let mut total = 0_u64;
    for (name, entry) in tensors {
        entry.offset = entry.offset.saturating_add(start);
        if entry.offset.checked_add(entry.bytes).is_none_or(|end| end > file_bytes) {
            return Err(format!("tensor {name} ends behind the file: the file is cut short, or damaged"));
        }
        total += entry.bytes;
        if total > file_bytes {
            return Err(format!("tensor {name} lies over others"));
        }
    }
    Ok(())
}

fn entries(source: &mut Source<impl Read>, count: u64) -> Result<BTreeMap<String, Value>> {
    let (mut entries, mut keys) = (BTreeMap::new(), HashSet::new());
    for number in 1..=count {
        source.place = format!("entry {number} of {count}");
        let key = source.text(MAX_NAME_BYTES)?;
        source.place.clone_from(&key);
        let kind = source.u32()?;
        if let Some(value) = source.value(kind)? {
            entries.insert(key.clone(), value);
        }
        if !keys.insert(key) {
            return Err(format!("{} occurs twice", source.place));
        }
    }
    Ok(entries)
}

impl<R: Read> Source<R> {
    /// A value of ggml's type `kind`; `None` for lists and long texts.
    fn value(&mut self, kind: u32) -> Result<Option<Value>> {
        Ok(Some(match kind {
            0 => self.array::<1>()?[0].into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            6 => f32::from_le_bytes(self.array()?).into(),
            7 => (self.array::<1>()?[0] != 0).into(),
            8 => {
                let length = self.u64()?;
                if length > MAX_TEXT_BYTES {
                    self.skip(length)?;
                    return Ok(None);
                }
                self.string(length)?.into()
            }
            9 => {
                self.list()?;
                return Ok(None);
            }
            10 => self.u64()?.into(),
            11 => i64::from_le_bytes(self.array()?).into(),
            12 => f64::from_le_bytes(self.array()?).into(),
            _ => return Err(format!("{} is of the unknown type {kind}", self.place)),
        }))
    }

    fn list(&mut self) -> Result<()> {
        let (kind, count) = (self.u32()?, self.u64()?);
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                // Each takes eight bytes of the file at least, which ends the loop.
                for _ in 0..count {
                    let length = self.u64()?;
                    self.skip(length)?;
                }
                return Ok(());
            }
            _ => return Err(format!("{} is a list of the unknown type {kind}", self.place)),
        };
        self.skip(count.saturating_mul(width))
    }

    fn count(&mut self) -> Result<u64> {
        match self.u64()? {
            count if count <= MAX_COUNT => Ok(count),
            count => Err(format!("{} is {count}, more than the {MAX_COUNT} that are read", self.place)),
        }
    }

    fn text(&mut self, most: u64) -> Result<String> {
        match self.u64()? {
            length if length <= most => self.string(length),
            length => Err(format!("{} has a name of {length} bytes, more than {most}", self.place)),
        }
    }

    fn string(&mut self, length: u64) -> Result<String> {
        self.take(length)?;
        let mut bytes = vec![0; length as usize];
        self.from.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|_| format!("{} is no text", self.place))
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        self.take(length)?;
        let skipped = io::copy(&mut self.from.by_ref().take(length), &mut io::sink());
        if skipped.map_err(|error| error.to_string())? < length { Err(self.short()) } else { Ok(()) }
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn take(&mut self, length: u64) -> Result<()> {
        self.left = self.left.checked_sub(length).ok_or_else(|| self.short())?;
        Ok(())
    }

    fn short(&self) -> String {
        format!("it ends within {}", self.place)
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
