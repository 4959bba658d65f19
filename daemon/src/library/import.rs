//! Makes a GGUF file into a model folder that MLX reads, without rounding a single weight.
//!
//! The folder is filled under a hidden name and renamed when all of it is on the disk: no one ever sees half a
//! model. Imports into one library run one after the other. What cannot be carried over exactly is refused by name.
//! Called by `models.import`, on a thread that may block.

mod incoming;
mod llama;
mod quants;
mod rope;
mod tokenizer;
mod weights;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use protocol::{Model, ModelId};
use serde_json::{Map, Value, json};

use super::gguf::{Gguf, GgufError, Metadata};
use super::{Library, LibraryError};
use incoming::Incoming;
use llama::{Llama, Piece};
use tokenizer::Vocabulary;
use weights::Plan;

/// Bytes that must stay free beyond those of the model, for the file system's own needs.
const SPARE_BYTES: u64 = 16 << 20;

/// Longest name that is made of a file's own.
const MAX_NAME_BYTES: usize = 96;

/// The small files of a model by name.
type Documents = BTreeMap<&'static str, Vec<u8>>;

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of weights written.
    pub done_bytes: u64,
    /// Bytes of weights in all.
    pub total_bytes: u64,
}

/// Why a file did not become a model. Nothing of it is left on the disk.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is not there, or cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The id cannot be a model's.
    #[error("import as {id:?}: {problem}")]
    InvalidId {
        /// The id that was asked for.
        id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A folder of that name is there already.
    #[error("import as {id}: {} is there already; remove it or choose another id", path.display())]
    Exists {
        /// The id of the new model.
        id: ModelId,
        /// The folder.
        path: PathBuf,
    },
    /// The file is sound, but holds something that cannot be carried over.
    #[error("import {}: {what}", path.display())]
    NotSupported {
        /// The file.
        path: PathBuf,
        /// What, and what could be.
        what: String,
    },
    /// The file is cut short or contradicts itself.
    #[error("import {}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        what: String,
    },
    /// The disk has no room for the model.
    #[error("write {needed_bytes} bytes to {}, which has {free_bytes} free: make room", path.display())]
    NoSpace {
        /// The library's folder.
        path: PathBuf,
        /// Bytes the model needs.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// A file of the model cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The caller's progress function ended it.
    #[error("import {}: it was cancelled", path.display())]
    Cancelled {
        /// The file.
        path: PathBuf,
    },
    /// The folder was written, but something else took it away or changed it.
    #[error(transparent)]
    Lost(#[from] LibraryError),
}

/// Makes the GGUF file into a model of the library, under `id` or one made of the file's own name. `progress` is
/// called at least once a megabyte and can end the import; while another import runs, this one waits for it.
pub fn import(
    source: &Path,
    id: Option<ModelId>,
    library: &Library,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    let gguf = Gguf::open(source).map_err(|error| refused(source, error))?;
    let id = id.unwrap_or_else(|| default_id(&gguf.header.metadata, source));
    check_id(&id)?;
    let target = library.folder(&id);
    let (pieces, mut documents) = understand(&gguf).map_err(|error| refused(source, error))?;
    let plan = Plan::new(&pieces, weights::SHARD_BYTES);
    documents.extend(plan.index().map(|index| ("model.safetensors.index.json", format!("{index:#}\n").into_bytes())));

    let incoming = Incoming::begin(&library.root, &id)?;
    let nothing_done = Progress { done_bytes: 0, total_bytes: plan.bytes };
    if progress(nothing_done).is_break() {
        return Err(ImportError::Cancelled { path: source.to_path_buf() });
    }
    if fs::symlink_metadata(&target).is_ok() {
        return Err(ImportError::Exists { id, path: target });
    }
    let small_bytes: u64 = documents.values().map(|document| document.len() as u64).sum();
    check_space(&library.root, plan.bytes + small_bytes + SPARE_BYTES)?;
    for (name, document) in &documents {
        incoming.write(name, document)?;
    }
    plan.write(&gguf, incoming.path(), progress)?;
    incoming.install(&target)?;
    Ok(library.find(&id)?.model)
}

/// The tensors of a file and the small files of its model.
fn understand(gguf: &Gguf) -> Result<(Vec<Piece<'_>>, Documents), GgufError> {
    llama::refuse_unknown(gguf)?;
    let llama = Llama::read(gguf)?;
    let pieces = llama.pieces(gguf)?;
    let vocabulary = Vocabulary::read(&gguf.header.metadata, llama.vocab)?;
    let mut config = llama.config();
    config.extend(vocabulary.ids());
    if let Some(quantization) = quantization(&pieces) {
        config.insert("quantization".into(), quantization.clone());
        config.insert("quantization_config".into(), quantization);
    }
    let documents = [
        ("config.json", Value::Object(config)),
        ("generation_config.json", vocabulary.generation_config()),
        ("tokenizer_config.json", vocabulary.tokenizer_config(llama.context)),
    ];
    let mut documents: Documents =
        documents.into_iter().map(|(name, value)| (name, format!("{value:#}\n").into_bytes())).collect();
    documents.insert("tokenizer.json", vocabulary.tokenizer()?);
    Ok((pieces, documents))
}

/// `quantization` of `config.json`: the bits of most layers, and by path those of the others.
fn quantization(pieces: &[Piece]) -> Option<Value> {
    let bits = |piece: &Piece| quants::bits(piece.tensor.encoding);
    let count = |wanted| pieces.iter().filter(|piece| bits(piece) == Some(wanted)).count();
    let common = pieces.iter().filter_map(bits).max_by_key(|bits| count(*bits))?;
    let entry = |bits| json!({"group_size": quants::GROUP_SIZE, "bits": bits});
    let others = pieces.iter().filter_map(|piece| Some((piece.path.clone(), bits(piece)?)));
    let others = others.filter(|(_, bits)| *bits != common).map(|(path, bits)| (path, entry(bits)));
    let Value::Object(mut quantization) = entry(common) else { unreachable!("an entry is an object") };
    quantization.extend(others.collect::<Map<_, _>>());
    Some(Value::Object(quantization))
}

/// `local/` and the name of the file, which is what its owner knows it by, else the name that it gives its model:
/// that is often of a training run.
fn default_id(metadata: &Metadata, source: &Path) -> ModelId {
    let text = |key| metadata.text(key).ok().flatten().map(str::to_owned);
    let stem = source.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let names = [stem, text("general.name"), text("general.basename")].into_iter().flatten();
    let name = names.map(|name| sanitized(&name)).find(|name| !name.is_empty());
    ModelId(format!("local/{}", name.as_deref().unwrap_or("model")))
}

/// The name with each stretch of characters that no id has as one `-`.
fn sanitized(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mut text = String::new();
    for c in name.chars().map(|c| if allowed(c) { c } else { '-' }).take(MAX_NAME_BYTES) {
        if c != '-' || !text.ends_with('-') {
            text.push(c);
        }
    }
    text.trim_matches(['.', '_', '-']).to_owned()
}

fn check_id(id: &ModelId) -> Result<(), ImportError> {
    let invalid = |problem| Err(ImportError::InvalidId { id: id.0.clone(), problem });
    if !id.is_valid() {
        return invalid(
            "an id is made of letters, digits, '.', '_', '-' and at most one '/', no part beginning with a dot",
        );
    }
    if super::is_unfinished(&id.0) {
        return invalid("folders ending in .partial or .incoming are never listed");
    }
    Ok(())
}

fn check_space(root: &Path, needed_bytes: u64) -> Result<(), ImportError> {
    let failed = |error: rustix::io::Errno| ImportError::Write { path: root.to_path_buf(), source: error.into() };
    let disk = rustix::fs::statvfs(root).map_err(failed)?;
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free_bytes < needed_bytes {
        return Err(ImportError::NoSpace { path: root.to_path_buf(), needed_bytes, free_bytes });
    }
    Ok(())
}

fn refused(path: &Path, error: GgufError) -> ImportError {
    let path = path.to_path_buf();
    match error {
        GgufError::Damaged(what) => ImportError::Damaged { path, what },
        GgufError::NotSupported(what) => ImportError::NotSupported { path, what },
        GgufError::Io(source) => ImportError::Read { path, source },
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
