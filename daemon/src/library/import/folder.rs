//! Folders of safetensors, MLX's or those of a model's makers: the engine loads both. Weights become further names of the
//! same bytes where the disk allows it, texts are copied; or the engine's program packs the weights.
//!
//! Links in the folder are followed, and only what is a regular file at their end counts. Pickles are never touched:
//! reading one runs what is in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use engine::convert::{POOLING, is_document};
use protocol::{Model, ModelId};
use serde_json::Value;

use super::carry::{Carrier, Way};
use super::{ImportError, Progress, Quantize, Source, convert};
use crate::bounded;
use crate::library::Library;
use crate::library::inspect::{self, Condition};

/// Most files of a folder that are looked at.
const MAX_FILES: usize = 10_000;

/// Longest `config.json` that is read: the inspection's limit, which comes before.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Ends of the names of weights that only Python reads.
const PICKLES: [&str; 6] = [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"];

/// Regular files by name, with what is known of them.
type Files = BTreeMap<String, fs::Metadata>;

/// Makes the folder into a model, under the id asked for or one made of the folder's own name.
pub(super) fn import(
    source: &Source,
    library: &Library,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    let failed = |error| ImportError::Read { path: source.path.clone(), source: error };
    let folder = fs::canonicalize(&source.path).map_err(failed)?;
    if fs::canonicalize(&library.root).is_ok_and(|root| folder.starts_with(root)) {
        return Err(ImportError::InLibrary { path: source.path.clone() });
    }
    let id = source.id.clone().unwrap_or_else(|| default_id(&folder));
    let files = files(&folder).map_err(failed)?;
    check_readable(source, &files)?;
    check_whole(source, &folder)?;
    match source.quantize.map(|asked| is_packed(source, &folder, asked)).transpose()? {
        None | Some(true) => carry(source, &folder, &files, &id, library, progress),
        Some(false) => pack(source, &folder, &id, library, progress),
    }
}

/// Brings the files over as they are.
fn carry(
    source: &Source,
    folder: &Path,
    files: &Files,
    id: &ModelId,
    library: &Library,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    let (mut weights, mut texts): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for name in files.keys() {
        if inspect::is_weights(name) {
            weights.push(name);
        } else if is_document(name) {
            texts.push(name);
        }
    }
    let bytes = |names: &[&str]| names.iter().map(|name| files[*name].len()).sum::<u64>();
    let incoming = super::begin(source, id, library, bytes(&weights), progress)?;
    let disk = fs::metadata(&library.root).map(|root| root.dev()).ok();
    let linked = |name: &str| !source.copy && Some(files[name].dev()) == disk;
    let copied: Vec<&str> = weights.iter().copied().filter(|name| !linked(name)).collect();
    super::check_space(&library.root, bytes(&copied).saturating_add(bytes(&texts)))?;

    let mut carrier =
        Carrier { from: folder, to: &incoming, root: &library.root, total: bytes(&weights), done: 0, progress };
    for name in texts {
        carrier.copy_text(name)?;
    }
    let pooling = POOLING.join("/");
    if folder.join(&pooling).is_file() {
        incoming.folder(POOLING[0])?;
        carrier.copy_text(&pooling)?;
    }
    for name in weights {
        carrier.carry(name, if linked(name) { Way::Link } else { Way::Copy })?;
    }
    // It may have been changed meanwhile.
    check_whole(source, incoming.path())?;
    super::install(incoming, source, id, library, progress)
}

/// Has the engine pack the weights.
fn pack(
    source: &Source,
    folder: &Path,
    id: &ModelId,
    library: &Library,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    let incoming = super::begin(source, id, library, 0, progress)?;
    convert::convert(source, folder, &incoming, &library.root, progress)?;
    check_whole(source, incoming.path())?;
    super::install(incoming, source, id, library, progress)
}

/// Regular files of the folder, links to such included.
fn files(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)?.take(MAX_FILES) {
        let entry = entry?;
        // A name that is no text is no file of a model, and a link that leads nowhere is no file.
        let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), fs::metadata(entry.path())) else { continue };
        if metadata.is_file() {
            files.insert(name, metadata);
        }
    }
    Ok(files)
}

/// That the weights are of a kind that is read.
fn check_readable(source: &Source, files: &Files) -> Result<(), ImportError> {
    let path = source.path.clone();
    if files.keys().any(|name| inspect::is_weights(name)) {
        return Ok(());
    }
    let find = |ends: &[&str]| files.keys().find(|name| ends.iter().any(|end| name.ends_with(end)));
    if let Some(name) = find(&[".gguf"]) {
        return Err(ImportError::NotSupported { path, what: format!("its weights are in {name}: import that file") });
    }
    if let Some(name) = find(&PICKLES) {
        let what = format!(
            "its weights are a pickle, {name}, which can run code when it is read: find the model as safetensors, or \
             have its makers' tools save it so"
        );
        return Err(ImportError::NotSupported { path, what });
    }
    Ok(())
}

/// That the folder holds a whole model of a kind that the engine knows.
fn check_whole(source: &Source, folder: &Path) -> Result<(), ImportError> {
    let path = source.path.clone();
    match inspect::inspect(folder).condition {
        Condition::Complete => Ok(()),
        Condition::Partial(what) | Condition::Broken(what) => Err(ImportError::Damaged { path, what }),
        Condition::NotSupported(what) => Err(ImportError::NotSupported { path, what }),
    }
}

/// Whether the weights are packed as they are asked to be. Packing them once more would round what is rounded already.
fn is_packed(source: &Source, folder: &Path, asked: Quantize) -> Result<bool, ImportError> {
    let path = folder.join("config.json");
    let config = bounded::read(&path, MAX_CONFIG_BYTES).and_then(|bytes| Ok(serde_json::from_slice::<Value>(&bytes)?));
    let config = config.map_err(|error| ImportError::Read { path, source: error })?;
    let Some(packed) = config.get("quantization").filter(|packed| !packed.is_null()) else { return Ok(false) };
    let is = |key: &str, number: u32| packed.get(key).and_then(Value::as_u64) == Some(u64::from(number));
    if is("bits", asked.bits) && is("group_size", asked.group_size) {
        return Ok(true);
    }
    let number = |key: &str| packed.get(key).map_or_else(|| "?".to_owned(), Value::to_string);
    let what = format!(
        "its weights are packed already, in {} bits in groups of {}: leave the bits out, or import the folder of the \
         original model with them",
        number("bits"),
        number("group_size"),
    );
    Err(ImportError::NotSupported { path: source.path.clone(), what })
}

/// `local/` and the name of the folder; of a snapshot in the hub's cache, the id that it has there.
fn default_id(folder: &Path) -> ModelId {
    let name = |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let snapshots = folder.parent().filter(|parent| name(parent) == "snapshots");
    if let Some(cached) = snapshots.and_then(Path::parent).map(name) {
        let id = cached.strip_prefix("models--").map(|id| ModelId(id.replacen("--", "/", 1)));
        if let Some(id) = id.filter(|id| super::check_id(id).is_ok()) {
            return id;
        }
    }
    let name = super::sanitized(&name(folder));
    ModelId(format!("local/{}", if name.is_empty() { "model" } else { &name }))
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
