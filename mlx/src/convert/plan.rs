//! What each tensor becomes, decided by shapes alone: mlx-lm's `quantize_model`.

use mlx_rs::{Array, Dtype, transforms};

use super::config::Settings;
use crate::array::is_float;
use crate::config::quantization::{Mode, Packing};
use crate::error::{Error, Result};
use crate::packed::Packed;
use crate::weights::{Fineness, Recorded, Role};

/// How layers are packed that are to stay finer than others.
const FINE: Packing = Packing { mode: Mode::Affine, group_size: 64, bits: 8 };

/// What every tensor becomes, in the order of the model.
pub struct Plan {
    /// A piece for each tensor.
    pub pieces: Vec<Piece>,
}

/// A tensor and what it becomes.
pub struct Piece {
    /// Of its layer.
    path: String,
    /// Not yet read.
    array: Array,
    dtype: Option<Dtype>,
    packing: Option<Packing>,
    is_fine: bool,
    /// What it becomes: itself, or numbers, scales and biases.
    pub outputs: Vec<Output>,
    /// Numbers that it stands for, as mlx-lm counts them.
    pub parameters: u64,
}

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// In the files.
    pub name: String,
    /// Of its numbers.
    pub dtype: Dtype,
    /// As in the files.
    pub shape: Vec<i32>,
}

impl Plan {
    /// Decides for all tensors; refuses what cannot be packed as it must be.
    pub fn new(tensors: Vec<Recorded>, settings: &Settings) -> Result<Self> {
        let pieces = tensors.into_iter().map(|tensor| Piece::new(tensor, settings)).collect::<Result<_>>()?;
        Ok(Self { pieces })
    }

    /// The layers that become packed, and how those do that are not packed like all others.
    pub fn packed(&self) -> impl Iterator<Item = (&str, Option<Packing>)> {
        let packed = self.pieces.iter().filter_map(|piece| Some((piece, piece.packing?)));
        packed.map(|(piece, packing)| (piece.path.as_str(), piece.is_fine.then_some(packing)))
    }
}

impl Piece {
    fn new(tensor: Recorded, settings: &Settings) -> Result<Self> {
        let Recorded { path, part, array, role } = tensor;
        let dtype = settings.dtype.filter(|_| is_float(array.dtype()));
        let is_fine = role == Role::Matrix(Fineness::Fine);
        let packing = match (role, settings.packing) {
            (Role::Matrix(_), Some(usual)) => packing(&path, array.shape(), usual, is_fine)?,
            _ => None,
        };
        let (shape, held) = (array.shape(), dtype.unwrap_or(array.dtype()));
        let output = |part: &str, dtype, shape| Output { name: format!("{path}.{part}"), dtype, shape };
        let outputs = match packing {
            None => vec![output(part, held, shape.to_vec())],
            Some(Packing { group_size, bits, .. }) => {
                let words = with_columns(shape, |columns| columns / 32 * bits);
                let groups = with_columns(shape, |columns| columns / group_size);
                let (scales, biases) = (output("scales", held, groups.clone()), output("biases", held, groups));
                vec![output("weight", Dtype::Uint32, words), scales, biases]
            }
        };
        let size = array.size() as u64;
        let parameters = match role {
            Role::Packed(Packing { bits, .. }) if part == "weight" => size * 32 / u64::from(bits.unsigned_abs()),
            Role::Packed(_) => 0,
            Role::Matrix(_) | Role::Other => size,
        };
        Ok(Self { path, array, dtype, packing, is_fine, outputs, parameters })
    }

    /// Reads the tensor and makes of it what was planned, each array in memory and in one piece.
    pub fn make(self) -> Result<Vec<(Output, Array)>> {
        let Self { array, dtype, packing, outputs, .. } = self;
        let array = match dtype {
            Some(dtype) => array.as_dtype(dtype)?,
            None => array,
        };
        let arrays = match packing {
            None => vec![array],
            Some(Packing { group_size, bits, .. }) => {
                let Packed { weight, scales, biases, .. } = Packed::pack(&array, group_size, bits)?;
                [weight, scales].into_iter().chain(biases).collect()
            }
        };
        let made: Vec<(Output, Array)> = outputs
            .into_iter()
            .zip(arrays)
            .map(|(output, array)| array.contiguous().map(|array| (output, array)))
            .collect::<mlx_rs::error::Result<_>>()?;
        transforms::eval(made.iter().map(|(_, array)| array))?;
        for (output, array) in &made {
            if array.shape() != output.shape || array.dtype() != output.dtype {
                let (shape, dtype) = (array.shape(), array.dtype());
                return Err(Error::Internal(format!("{} became {dtype:?} {shape:?}, not {output:?}", output.name)));
            }
        }
        Ok(made)
    }
}

/// How a matrix of this shape becomes packed. One whose rows cannot be cut into groups stays plain.
fn packing(path: &str, shape: &[i32], usual: Packing, is_fine: bool) -> Result<Option<Packing>> {
    let columns = shape.last().copied().unwrap_or(0);
    if columns % usual.group_size != 0 {
        return Ok(None);
    }
    if !is_fine {
        return Ok(Some(usual));
    }
    if columns % FINE.group_size != 0 {
        return Err(Error::NotSupported(format!(
            "{path} must keep {FINE}, which do not divide its {columns} columns: ask for groups of 64 or 128"
        )));
    }
    Ok(Some(FINE))
}

fn with_columns(shape: &[i32], columns: impl Fn(i32) -> i32) -> Vec<i32> {
    let mut shape = shape.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = columns(*last);
    }
    shape
}
