//! The weight files: what goes into which, their headers, and their bytes. Every length is known before a tensor is read.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;

use mlx_rs::{Array, Dtype};
use safetensors::Dtype as FileDtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Value, json};

use super::plan::{Output, Piece, Plan};
use super::target::Target;
use crate::error::{Error, Result};

/// Bytes of a file after which the next one begins: mlx-lm's.
pub const MOST_BYTES: u64 = 5 << 30;

/// All files.
pub struct Shards {
    files: Vec<Shard>,
    parameters: u64,
}

/// One file.
struct Shard {
    name: String,
    header: Vec<u8>,
    pieces: Vec<Piece>,
    /// Where each tensor begins, from the start of the file.
    offsets: HashMap<String, u64>,
    bytes: u64,
}

impl Shards {
    /// Distributes the pieces over files of at most `most_bytes`; one that is larger has a file for itself.
    pub fn new(plan: Plan, most_bytes: u64) -> Result<Self> {
        let parameters = plan.pieces.iter().map(|piece| piece.parameters).sum();
        let mut groups: Vec<Vec<Piece>> = vec![Vec::new()];
        let mut filled = 0;
        for piece in plan.pieces {
            let bytes = piece.outputs.iter().map(bytes).sum::<u64>();
            if filled > 0 && filled + bytes > most_bytes {
                groups.push(Vec::new());
                filled = 0;
            }
            filled += bytes;
            groups.last_mut().expect("there is a first group").push(piece);
        }
        let count = groups.len();
        let name = |number| match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{number:05}-of-{count:05}.safetensors"),
        };
        let files = groups.into_iter().zip(1..).map(|(pieces, number)| Shard::new(name(number), pieces));
        Ok(Self { files: files.collect::<Result<_>>()?, parameters })
    }

    /// Of all files, headers included.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// `model.safetensors.index.json`, which mlx-lm writes for one file too.
    pub fn index(&self) -> Value {
        let outputs = self.files.iter().flat_map(|file| file.outputs().map(move |output| (output, &file.name)));
        let total_size: u64 = outputs.clone().map(|(output, _)| bytes(output)).sum();
        let weight_map: BTreeMap<&String, &String> = outputs.map(|(output, name)| (&output.name, name)).collect();
        let metadata = json!({"total_size": total_size, "total_parameters": self.parameters});
        json!({"metadata": metadata, "weight_map": weight_map})
    }

    /// Writes all files, with one tensor in memory at a time, and makes them last. `report` hears the bytes written.
    pub fn write(self, target: &Target, report: &mut impl FnMut(u64) -> Result<()>) -> Result<()> {
        let mut done = 0;
        for Shard { name, header, pieces, offsets, .. } in self.files {
            let file = target.file(&name)?;
            let failed = |error| target.failed(&name, &error);
            file.write_all_at(&header, 0).map_err(failed)?;
            done += header.len() as u64;
            for piece in pieces {
                for (output, array) in piece.make()? {
                    let bytes = array.view_dtype(Dtype::Uint8)?;
                    let bytes = numbers(&bytes)?;
                    file.write_all_at(bytes, offsets[&output.name]).map_err(failed)?;
                    done += bytes.len() as u64;
                }
                report(done)?;
            }
            file.sync_all().map_err(failed)?;
        }
        Ok(())
    }
}

impl Shard {
    fn new(name: String, pieces: Vec<Piece>) -> Result<Self> {
        let mut outputs: Vec<&Output> = pieces.iter().flat_map(|piece| &piece.outputs).collect();
        // Wide numbers first: then every tensor is aligned to its numbers, and readers can map the file.
        outputs.sort_by_key(|output| std::cmp::Reverse(width(output.dtype)));
        let mut tensors = Vec::new();
        let mut end = 0;
        for output in outputs {
            let start = end;
            end += bytes(output);
            let shape = output.shape.iter().map(|size| size.unsigned_abs() as usize).collect();
            let dtype = dtype(output)?;
            let data_offsets = (start as usize, end as usize);
            tensors.push((output.name.clone(), TensorInfo { dtype, shape, data_offsets }));
        }
        let starts: Vec<(String, u64)> =
            tensors.iter().map(|(name, info)| (name.clone(), info.data_offsets.0 as u64)).collect();
        let header = header(tensors)?;
        let begin = header.len() as u64;
        let offsets = starts.into_iter().map(|(name, start)| (name, begin + start)).collect();
        Ok(Self { name, pieces, offsets, bytes: begin + end, header })
    }

    fn outputs(&self) -> impl Iterator<Item = &Output> + Clone {
        self.pieces.iter().flat_map(|piece| &piece.outputs)
    }
}

/// The length and the text before the tensors, padded so that these are aligned.
fn header(tensors: Vec<(String, TensorInfo)>) -> Result<Vec<u8>> {
    let internal = |error: String| Error::Internal(format!("the header of a weight file is wrong: {error}"));
    let format = HashMap::from([("format".to_owned(), "mlx".to_owned())]);
    let metadata = Metadata::new(Some(format), tensors).map_err(|error| internal(error.to_string()))?;
    let mut text = serde_json::to_vec(&metadata).map_err(|error| internal(error.to_string()))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok([(text.len() as u64).to_le_bytes().as_slice(), &text].concat())
}

fn bytes(output: &Output) -> u64 {
    output.shape.iter().map(|size| u64::from(size.unsigned_abs())).product::<u64>() * width(output.dtype)
}

/// Bytes of a number of the types that [`dtype`] knows.
fn width(dtype: Dtype) -> u64 {
    match dtype {
        Dtype::Uint8 => 1,
        Dtype::Float16 | Dtype::Bfloat16 => 2,
        Dtype::Float64 => 8,
        _ => 4,
    }
}

fn dtype(output: &Output) -> Result<FileDtype> {
    Ok(match output.dtype {
        Dtype::Float16 => FileDtype::F16,
        Dtype::Bfloat16 => FileDtype::BF16,
        Dtype::Float32 => FileDtype::F32,
        Dtype::Float64 => FileDtype::F64,
        Dtype::Uint32 => FileDtype::U32,
        Dtype::Uint8 => FileDtype::U8,
        other => return Err(Error::NotSupported(format!("{} holds numbers of type {other:?}", output.name))),
    })
}

fn numbers(array: &Array) -> Result<&[u8]> {
    array.try_as_slice().map_err(|error| Error::Internal(format!("a tensor cannot be read back: {error}")))
}
