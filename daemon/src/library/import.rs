//! Makes what lies on the disk into a model of the library: a folder with safetensors, or a GGUF file, without rounding
//! a single weight unless that is asked for.
//!
//! The model grows under a hidden name and gets its own when all of it is on the disk: no one ever sees half a
//! model. Imports into one library run one after the other. What cannot be carried over exactly is refused by name.
//! The source is never changed. Called by `models.import`, on a thread that may block.

mod carry;
mod convert;
mod file;
mod folder;
mod incoming;
mod llama;
mod quants;
mod rope;
mod tokenizer;
mod weights;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use engine::convert::{BITS, GROUP_SIZES};
use protocol::{Model, ModelId};

use super::manifest::{FileFact, Hasher, MANIFEST, Manifest};
use super::{Disk, Library, LibraryError};
use incoming::Incoming;

pub use engine::convert::Progress;

/// Bytes that must stay free beyond those of the model, for the file system's own needs.
const SPARE_BYTES: u64 = 16 << 20;

/// Longest name that is made of a file's own.
const MAX_NAME_BYTES: usize = 96;

/// What is to become a model, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A GGUF file or a model's folder.
    pub path: PathBuf,
    /// The new model's id; one made of the source's name when absent.
    pub id: Option<ModelId>,
    /// Whether weights are copied where a second name for the same bytes would do.
    pub copy: bool,
    /// How weights are to be packed that are not; `None` leaves them as they are.
    pub quantize: Option<Quantize>,
    /// Program that packs them.
    pub engine: PathBuf,
}

impl Source {
    /// One that is taken as it is, without a byte more on the disk than it needs.
    pub fn new(path: PathBuf, id: Option<ModelId>, engine: PathBuf) -> Self {
        Self { path, id, copy: false, quantize: None, engine }
    }
}

/// A way to pack weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantize {
    /// Of each weight.
    pub bits: u32,
    /// Weights that share a scale.
    pub group_size: u32,
}

/// Why something did not become a model. Nothing of it is left in the library.
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
    /// The source is a model of the library, or lies inside one.
    #[error("import {}: it is in the library already: use it from there, or copy it elsewhere first", path.display())]
    InLibrary {
        /// The source.
        path: PathBuf,
    },
    /// Weights cannot be packed so.
    #[error(
        "import with {bits} bits in groups of {group_size}: bits are one of {BITS:?}, groups one of {GROUP_SIZES:?}"
    )]
    InvalidQuantize {
        /// The bits asked for.
        bits: u32,
        /// The weights of a group asked for.
        group_size: u32,
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
    /// The engine's program cannot be started, or ended without a word of what is wrong with the model.
    #[error("convert with {}: {how}", program.display())]
    Engine {
        /// The program.
        program: PathBuf,
        /// How it ended, and its last words.
        how: String,
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

/// Makes the source into a model of the library. `progress` is called at least once a megabyte and can end the import;
/// while another import runs, this one waits for it.
pub fn import(
    source: &Source,
    library: &Library,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    if let Some(Quantize { bits, group_size }) = source.quantize
        && !(BITS.contains(&bits) && GROUP_SIZES.contains(&group_size))
    {
        return Err(ImportError::InvalidQuantize { bits, group_size });
    }
    match fs::metadata(&source.path) {
        Ok(metadata) if metadata.is_dir() => folder::import(source, library, progress),
        _ => file::import(source, library, progress),
    }
}

/// Waits for other imports and makes room for a model of this id, which must be free. Nothing is written yet.
fn begin(
    source: &Source,
    id: &ModelId,
    library: &Library,
    total_bytes: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Incoming, ImportError> {
    check_id(id)?;
    let target = library.folder(id);
    let incoming = Incoming::begin(&library.root, id)?;
    if progress(Progress { done_bytes: 0, total_bytes }).is_break() {
        return Err(ImportError::Cancelled { path: source.path.clone() });
    }
    if fs::symlink_metadata(&target).is_ok() {
        return Err(ImportError::Exists { id: id.clone(), path: target });
    }
    Ok(incoming)
}

/// Writes down what the folder holds, as the last of its files, and gives it its name.
fn install(
    incoming: Incoming,
    source: &Source,
    id: &ModelId,
    library: &Library,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    let mut facts = Vec::new();
    // All is written; what is left can still be cancelled.
    let written = super::inspect::inspect(incoming.path()).weight_bytes;
    let mut wanted = || progress(Progress { done_bytes: written, total_bytes: written }).is_continue();
    facts_of(incoming.path(), "", &mut facts, &mut wanted).map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => ImportError::Cancelled { path: source.path.clone() },
        _ => ImportError::Write { path: incoming.path().to_owned(), source: error },
    })?;
    facts.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = Manifest::new(id.clone(), None, source.path.display().to_string(), facts);
    let written = manifest.write(incoming.path());
    written.map_err(|source| ImportError::Write { path: incoming.path().join(MANIFEST), source })?;
    incoming.install(&library.folder(id))?;
    Ok(library.find(id)?.model)
}

/// The files of a folder and of those in it, with their hashes.
fn facts_of(
    folder: &Path,
    prefix: &str,
    facts: &mut Vec<FileFact>,
    wanted: &mut dyn FnMut() -> bool,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            // Folders of a model have files alone.
            facts_of(&entry.path(), &format!("{path}/"), facts, wanted)?;
            continue;
        }
        let (mut file, size) = crate::bounded::open(&entry.path())?;
        let mut hasher = Hasher::sha256();
        hasher.take(&mut file, &mut *wanted)?;
        facts.push(FileFact { path, size, hash: hasher.finish() });
    }
    Ok(())
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
    if super::places::is_unfinished(&id.0) {
        return invalid("folders ending in .partial or .incoming are never listed");
    }
    Ok(())
}

/// That the root's disk has room for so many bytes and what must stay free.
fn check_space(root: &Path, needed_bytes: u64) -> Result<(), ImportError> {
    let failed = |source| ImportError::Write { path: root.to_path_buf(), source };
    let free_bytes = Disk::of(root).map_err(failed)?.free_bytes;
    let needed_bytes = needed_bytes.saturating_add(SPARE_BYTES);
    if free_bytes < needed_bytes {
        return Err(ImportError::NoSpace { path: root.to_path_buf(), needed_bytes, free_bytes });
    }
    Ok(())
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
