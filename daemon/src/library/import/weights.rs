//! Writes a model's tensors as safetensors, one after the other, in pieces of a megabyte: memory does not grow with
//! the model.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::llama::Piece;
use super::quants::{self, Groups};
use super::{ImportError, Progress};
use crate::library::gguf::{Encoding, Gguf};

/// Bytes of a file after which the next one begins.
pub(super) const SHARD_BYTES: u64 = 5_000_000_000;

/// Bytes that are read at once, where a row is not longer.
const CHUNK_BYTES: u64 = 1 << 20;

/// What goes into which file.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    shards: Vec<Shard<'a>>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// One file.
#[derive(Debug)]
struct Shard<'a> {
    name: String,
    header: Vec<u8>,
    pieces: Vec<(&'a Piece<'a>, Vec<Output>)>,
}

/// One tensor of a file.
#[derive(Debug, Clone)]
struct Output {
    name: String,
    dtype: &'static str,
    shape: Vec<u64>,
    bytes: u64,
    /// From the start of the file.
    offset: u64,
}

impl<'a> Plan<'a> {
    /// Distributes the pieces over files of about `shard_bytes`; a piece is never divided.
    pub(super) fn new(pieces: &'a [Piece<'a>], shard_bytes: u64) -> Self {
        let mut groups: Vec<Vec<(&Piece, Vec<Output>)>> = vec![Vec::new()];
        let mut filled = 0;
        for piece in pieces {
            let outputs = outputs(piece);
            let bytes: u64 = outputs.iter().map(|output| output.bytes).sum();
            if filled > 0 && filled + bytes > shard_bytes {
                groups.push(Vec::new());
                filled = 0;
            }
            filled += bytes;
            groups.last_mut().expect("there is a first group").push((piece, outputs));
        }
        let count = groups.len();
        let shards: Vec<Shard> = groups.into_iter().zip(1..).map(|(pieces, n)| Shard::new(n, count, pieces)).collect();
        let bytes = shards.iter().map(Shard::bytes).sum();
        Self { shards, bytes }
    }

    /// `model.safetensors.index.json`, if there is more than one file.
    pub(super) fn index(&self) -> Option<Value> {
        if self.shards.len() == 1 {
            return None;
        }
        let entries = self.shards.iter().flat_map(|shard| shard.outputs().map(move |output| (output, &shard.name)));
        let total_size: u64 = entries.clone().map(|(output, _)| output.bytes).sum();
        let weight_map: BTreeMap<&String, &String> = entries.map(|(output, name)| (&output.name, name)).collect();
        Some(json!({"metadata": {"total_size": total_size}, "weight_map": weight_map}))
    }

    /// Writes all files into the folder and makes them last.
    pub(super) fn write(
        &self,
        gguf: &Gguf,
        folder: &Path,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), ImportError> {
        let mut done = 0;
        for shard in &self.shards {
            let path = folder.join(&shard.name);
            let failed = |source| ImportError::Write { path: path.clone(), source };
            let file = File::create_new(&path).map_err(failed)?;
            file.write_all_at(&shard.header, 0).map_err(failed)?;
            done += shard.header.len() as u64;
            for (piece, outputs) in &shard.pieces {
                copy(gguf, piece, |parts, row| {
                    for (output, part) in outputs.iter().zip(parts) {
                        let at = output.offset + row * (output.bytes / piece.tensor.rows());
                        file.write_all_at(part, at).map_err(failed)?;
                        done += part.len() as u64;
                    }
                    let progress = progress(Progress { done_bytes: done, total_bytes: self.bytes });
                    if progress.is_break() { Err(ImportError::Cancelled { path: gguf.path.clone() }) } else { Ok(()) }
                })?;
            }
            file.sync_all().map_err(failed)?;
        }
        Ok(())
    }
}

impl<'a> Shard<'a> {
    fn new(number: usize, count: usize, mut pieces: Vec<(&'a Piece<'a>, Vec<Output>)>) -> Self {
        let name = match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{number:05}-of-{count:05}.safetensors"),
        };
        let mut outputs: Vec<&mut Output> = pieces.iter_mut().flat_map(|(_, outputs)| outputs).collect();
        // 32-bit numbers first: then every tensor is aligned to its numbers, and readers can map the file.
        outputs.sort_by_key(|output| output.dtype == "F16");
        let mut end = 0;
        for output in &mut outputs {
            output.offset = end;
            end += output.bytes;
        }
        let header = header(&outputs);
        for output in outputs {
            output.offset += header.len() as u64;
        }
        Self { name, header, pieces }
    }

    fn outputs(&self) -> impl Iterator<Item = &Output> + Clone {
        self.pieces.iter().flat_map(|(_, outputs)| outputs)
    }

    fn bytes(&self) -> u64 {
        self.header.len() as u64 + self.outputs().map(|output| output.bytes).sum::<u64>()
    }
}

/// The header of a file whose offsets are still relative to the end of it.
fn header(outputs: &[&mut Output]) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), json!({"format": "mlx"}));
    for output in outputs {
        let offsets = [output.offset, output.offset + output.bytes];
        let entry = json!({"dtype": output.dtype, "shape": output.shape, "data_offsets": offsets});
        entries.insert(output.name.clone(), entry);
    }
    let mut text = Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    header
}

/// The tensors that one piece becomes: itself, or numbers, scales and biases.
fn outputs(piece: &Piece) -> Vec<Output> {
    let (tensor, path) = (piece.tensor, &piece.path);
    let output = |name: &str, dtype, width: u64, bytes: u64| {
        let mut shape = tensor.shape.clone();
        shape.pop();
        let bytes = shape.iter().product::<u64>() * width * bytes;
        shape.push(width);
        Output { name: format!("{path}.{name}"), dtype, shape, bytes, offset: 0 }
    };
    match (tensor.encoding, quants::bits(tensor.encoding)) {
        (_, Some(bits)) => {
            let groups = tensor.width() / quants::GROUP_SIZE;
            vec![
                output("weight", "U32", tensor.width() * bits / 32, 4),
                output("scales", "F16", groups, 2),
                output("biases", "F16", groups, 2),
            ]
        }
        (Encoding::F16, None) => vec![output("weight", "F16", tensor.width(), 2)],
        (_, None) => vec![output("weight", "F32", tensor.width(), 4)],
    }
}

/// Reads a tensor chunk by chunk and hands on what each becomes, with the number of its first row.
fn copy(
    gguf: &Gguf,
    piece: &Piece,
    mut write: impl FnMut(&[&[u8]], u64) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let (tensor, rows, row_bytes) = (piece.tensor, piece.tensor.rows(), piece.tensor.row_bytes());
    let chunk_rows = piece.interleaved.unwrap_or_else(|| (CHUNK_BYTES / row_bytes).max(1));
    let mut chunk = Vec::new();
    let mut groups = Groups::default();
    for row in (0..rows).step_by(chunk_rows as usize) {
        chunk.resize((chunk_rows.min(rows - row) * row_bytes) as usize, 0);
        let failed = |source| ImportError::Read { path: gguf.path.clone(), source };
        gguf.read_at(tensor, row * row_bytes, &mut chunk).map_err(failed)?;
        if piece.interleaved.is_some() {
            chunk = in_order(&chunk, row_bytes as usize);
        }
        if quants::bits(tensor.encoding).is_some() {
            quants::regroup(tensor.encoding, &chunk, &mut groups);
            write(&[&groups.weight, &groups.scales, &groups.biases], row)?;
        } else {
            write(&[&chunk], row)?;
        }
    }
    Ok(())
}

/// The rows of one head with the even ones before the odd ones: `[dim / 2, 2]` as `[2, dim / 2]`.
fn in_order(head: &[u8], row_bytes: usize) -> Vec<u8> {
    let rows = || head.chunks_exact(row_bytes);
    rows().step_by(2).chain(rows().skip(1).step_by(2)).flatten().copied().collect()
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
