//! The experts of the published checkpoint, brought into mlx-lm's layout: bytes of two numbers become words, and the rows
//! of gate and up, which take turns there, tensors of their own.

use mlx_rs::{Array, Dtype};

use crate::error::Result;
use crate::weights::Weights;

/// Parts of a matrix in the published checkpoint, and their usual names.
const PARTS: [(&str, &str); 3] = [("blocks", "weight"), ("scales", "scales"), ("bias", "bias")];

/// Bytes of a block, which are 32 numbers of 4 bits.
const BLOCK: i32 = 16;

/// Renames the experts of `path`; does nothing where they have their usual names.
pub fn rename(weights: &mut Weights, path: &str) -> Result<()> {
    for (published, part) in PARTS {
        if let Some(both) = remove(weights, &format!("{path}.gate_up_proj_{published}"))? {
            let [gate, up] = apart(&both)?;
            weights.insert(format!("{path}.gate_proj.{part}"), gate)?;
            weights.insert(format!("{path}.up_proj.{part}"), up)?;
        }
        if let Some(down) = remove(weights, &format!("{path}.down_proj_{published}"))? {
            weights.insert(format!("{path}.down_proj.{part}"), down)?;
        }
    }
    Ok(())
}

/// The tensor of this name, blocks as words: `[experts, rows, …]`, with an even number of rows.
fn remove(weights: &mut Weights, name: &str) -> Result<Option<Array>> {
    let Some(tensor) = weights.remove(name) else { return Ok(None) };
    match (tensor.shape(), tensor.dtype()) {
        (&[experts, rows, groups, BLOCK], Dtype::Uint8) if rows % 2 == 0 => {
            let words = tensor.view_dtype(Dtype::Uint32)?;
            Ok(Some(words.reshape(&[experts, rows, groups * BLOCK / 4])?))
        }
        (&[_, rows] | &[_, rows, _], _) if rows % 2 == 0 => Ok(Some(tensor)),
        (shape, dtype) => {
            Err(weights.broken(&format!("{name} has shape {shape:?} and type {dtype:?}, which no expert has")))
        }
    }
}

/// The even rows and the odd ones of `[experts, rows, …]`, each in a buffer of its own.
fn apart(both: &Array) -> Result<[Array; 2]> {
    let (experts, rows, rest) = (both.shape()[0], both.shape()[1], &both.shape()[2..]);
    let pairs = both.reshape(&[&[experts, rows / 2, 2], rest].concat())?;
    let half = |place: i32| pairs.take_axis(Array::from_int(place), 2);
    Ok([half(0)?, half(1)?])
}

#[cfg(test)]
#[path = "published_tests.rs"]
mod tests;
