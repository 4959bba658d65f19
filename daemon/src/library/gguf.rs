//! GGUF files as the library sees them: what becomes of each encoding.

use std::path::Path;

pub(super) use engine::gguf::{Encoding, Gguf, GgufError, Metadata, Tensor};
use engine::gguf::{Header, Lists};

use crate::bounded;

/// Who can do something with numbers written in some way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// MLX, once they are in its own tensors; Candle as they are.
    Converted,
    /// Candle alone: MLX has no counterpart.
    Kept,
    /// Nobody.
    Unknown,
}

/// Opens a file and reads its header.
pub(super) fn open(path: &Path) -> Result<Gguf, GgufError> {
    let (file, _) = bounded::open(path)?;
    Gguf::new(file, path, Lists::Kept)
}

/// What an encoding is good for here.
pub(super) const fn usage(encoding: Encoding) -> Use {
    match encoding {
        Encoding::F32 | Encoding::F16 | Encoding::Q4_0 | Encoding::Q4_1 | Encoding::Q8_0 => Use::Converted,
        Encoding::BF16
        | Encoding::Q5_0
        | Encoding::Q5_1
        | Encoding::Q2K
        | Encoding::Q3K
        | Encoding::Q4K
        | Encoding::Q5K
        | Encoding::Q6K => Use::Kept,
        Encoding::Other(_) => Use::Unknown,
    }
}

/// The first tensor that nobody can do anything with.
pub(super) fn unknown(header: &Header) -> Option<&Tensor> {
    header.tensors.iter().find(|tensor| usage(tensor.encoding) == Use::Unknown)
}
