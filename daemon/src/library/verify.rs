//! Reads every byte of a model and compares it with what is known of it.

use std::fs;
use std::path::Path;

use protocol::{FileState, HashSource, ModelId, ModelSource, Verified, VerifiedFile};

use super::manifest::{FileFact, Hash, MANIFEST, Manifest};
use super::{Library, LibraryError};
use crate::bounded;

impl Library {
    /// Compares a model's files with its manifest, or with the names that the Hugging Face cache gives them. `wanted` is
    /// asked now and then and may end it, with files unreadable from there on.
    pub fn verify(&self, id: &ModelId, mut wanted: impl FnMut() -> bool) -> Result<Verified, LibraryError> {
        let model = self.find(id)?.model;
        let (against, facts) = match Manifest::read(&model.path) {
            Some(manifest) => (HashSource::Manifest, manifest.files),
            None if model.source == ModelSource::HuggingFaceCache => {
                (HashSource::HuggingFaceCache, cached(&model.path))
            }
            None => (HashSource::Nothing, Vec::new()),
        };
        let mut files: Vec<VerifiedFile> = facts.iter().map(|fact| compare(&model.path, fact, &mut wanted)).collect();
        files.extend(others(&model.path, &facts));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let ok = !facts.is_empty() && files.iter().all(|file| matches!(file.state, FileState::Ok | FileState::Unknown));
        Ok(Verified { model: id.clone(), ok, against, files })
    }
}

fn compare(folder: &Path, fact: &FileFact, wanted: &mut impl FnMut() -> bool) -> VerifiedFile {
    let path = folder.join(&fact.path);
    let told = |size, state| VerifiedFile { path: fact.path.clone(), size, state };
    let (mut file, size) = match bounded::open(&path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return told(0, FileState::Missing),
        Err(_) => return told(0, FileState::Unreadable),
    };
    if size != fact.size {
        return told(size, FileState::Changed);
    }
    let mut hasher = fact.hash.hasher(size);
    let state = match hasher.take(&mut file, wanted) {
        Err(_) => FileState::Unreadable,
        Ok(()) if hasher.finish() == fact.hash => FileState::Ok,
        Ok(()) => FileState::Changed,
    };
    told(size, state)
}

/// Files that nothing is known of.
fn others(folder: &Path, facts: &[FileFact]) -> Vec<VerifiedFile> {
    let is_known = |name: &str| name == MANIFEST || facts.iter().any(|fact| fact.path == name);
    let entries = fs::read_dir(folder).into_iter().flatten().take(super::inspect::MAX_FILES).flatten();
    let files = entries.filter_map(|entry| {
        let size = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?.len();
        Some(VerifiedFile { path: entry.file_name().to_string_lossy().into_owned(), size, state: FileState::Unknown })
    });
    files.filter(|file| !is_known(&file.path)).collect()
}

/// What the names of blobs say: those of large files are their SHA-256, those of others git's.
fn cached(snapshot: &Path) -> Vec<FileFact> {
    let entries = fs::read_dir(snapshot).into_iter().flatten().take(super::inspect::MAX_FILES).flatten();
    let facts = entries.filter_map(|entry| {
        let path = entry.file_name().into_string().ok()?;
        let blob = fs::read_link(entry.path()).ok()?.file_name()?.to_str()?.to_ascii_lowercase();
        let hash = match blob.len() {
            64 => Hash::Sha256(blob),
            40 => Hash::GitSha1(blob),
            _ => return None,
        };
        // A link that leads nowhere is a file that is missing.
        let size = fs::metadata(entry.path()).map_or(0, |metadata| metadata.len());
        Some(FileFact { path, size, hash })
    });
    facts.collect()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
