//! What a conversion says: `talkied-mlx convert` writes a model's folder anew, and tells on standard output how far it is,
//! a JSON document a line. The last one of a conversion that fails says why.
//!
//! Here too: what belongs to a model beside its weights, for whoever carries a model from folder to folder.
//!
//! Both sides are programs of one installation, so that there is no version to agree on.

use serde::{Deserialize, Serialize};

/// Numbers of bits that the weights of a matrix may be packed in.
pub const BITS: [u32; 6] = [2, 3, 4, 5, 6, 8];

/// How many weights may share a scale.
pub const GROUP_SIZES: [u32; 3] = [32, 64, 128];

/// Ends of the names of the texts that some reader of a model needs.
const DOCUMENTS: [&str; 6] = [".json", ".jsonl", ".jinja", ".txt", ".model", ".tiktoken"];

/// Licences go where the weights go.
const LICENCES: [&str; 3] = ["LICENSE", "LICENCE", "NOTICE"];

/// Longest document that is believed: the largest tokenizers have 40 million bytes.
pub const MAX_DOCUMENT_BYTES: u64 = 256 << 20;

/// Folder and file in which sentence models say how vectors become one, the only document in a folder of its own.
pub const POOLING: [&str; 2] = ["1_Pooling", "config.json"];

/// Whether a file of a model's folder is a text that belongs to the model: what is carried along with weights.
pub fn is_document(name: &str) -> bool {
    let known = DOCUMENTS.iter().any(|end| name.ends_with(end)) || LICENCES.iter().any(|start| name.starts_with(start));
    known && !name.starts_with('.')
}

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
