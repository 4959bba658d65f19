//! What a conversion says: `talkied-mlx convert` writes a model's folder anew, and tells on standard output how far it is,
//! a JSON document a line. The last one of a conversion that fails says why.
//!
//! Both sides are programs of one installation, so that there is no version to agree on.

use serde::{Deserialize, Serialize};

/// Numbers of bits that the weights of a matrix may be packed in.
pub const BITS: [u32; 6] = [2, 3, 4, 5, 6, 8];

/// How many weights may share a scale.
pub const GROUP_SIZES: [u32; 3] = [32, 64, 128];

/// A line of standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Report {
    /// There is more to come, or all is written.
    Progress(Progress),
    /// Nothing is written.
    Failed(Failed),
}

/// How far a conversion is. The first report comes before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes of weight files written.
    pub done_bytes: u64,
    /// Bytes of weight files in all.
    pub total_bytes: u64,
}

/// Why a conversion failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What a caller branches on.
    pub kind: FailedKind,
    /// A fragment that fits after "failed to …: ", naming the file or tensor.
    pub message: String,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedKind {
    /// The source is missing, damaged or contradicts itself.
    ModelBroken,
    /// The source is sound, but cannot be converted so.
    NotSupported,
    /// The target is there already or cannot be written.
    Write,
    /// It was told to end.
    Cancelled,
    /// A fault of ours or of the device.
    Internal,
}
