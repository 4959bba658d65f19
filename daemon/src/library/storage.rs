//! What models take of the disk, and how a model is removed from it.
//!
//! A file counts once however many names it has: hard links of imports, links into the blobs of a Hugging Face cache.
//! Files with holes count what is written.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use protocol::{ModelId, ModelSource, Storage, StoredModel, StoredPull};

use super::places::id_of;
use super::{Disk, Library, LibraryError};

/// Folder of the root in which downloads grow, each in a folder named as its model's.
pub const PULLS: &str = ".pulls";

/// Beginning of the names of folders that are being removed.
const REMOVED: &str = ".removed-";

/// Deepest folder of a model that is looked into.
const MAX_DEPTH: usize = 8;

/// A file of the disk, whatever its names.
type File = (u64, u64);

impl Library {
    /// What all models and unfinished downloads take.
    pub fn storage(&self) -> Result<Storage, LibraryError> {
        let models = &self.look().models;
        let files: Vec<BTreeMap<File, u64>> = models.iter().map(|model| files(&model.path)).collect();
        let mut owners: BTreeMap<File, u32> = BTreeMap::new();
        files.iter().flat_map(BTreeMap::keys).for_each(|file| *owners.entry(*file).or_default() += 1);
        let all: BTreeMap<File, u64> = files.iter().flatten().map(|(file, bytes)| (*file, *bytes)).collect();
        let stored = models.iter().zip(&files).map(|(model, files)| StoredModel {
            model: model.id.clone(),
            source: model.source,
            path: model.path.clone(),
            size: files.values().sum(),
            own_bytes: files.iter().filter(|(file, _)| owners[*file] == 1).map(|(_, bytes)| bytes).sum(),
        });
        let mut stored: Vec<StoredModel> = stored.collect();
        stored.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.model.cmp(&b.model)));
        let pulls = self.unfinished();
        let failed = |source| LibraryError::Disk { path: self.root.clone(), source };
        let disk = Disk::of(&self.root).map_err(failed)?;
        Ok(Storage {
            used_bytes: all.values().sum::<u64>() + pulls.iter().map(|pull| pull.size).sum::<u64>(),
            models: stored,
            pulls,
            free_bytes: disk.free_bytes,
            capacity_bytes: disk.capacity_bytes,
            path: self.root.clone(),
        })
    }

    /// Removes a model's files and says how many bytes the disk has back. It is out of sight before the first file goes,
    /// so that one that is half removed is never seen.
    pub fn remove(&self, id: &ModelId) -> Result<u64, LibraryError> {
        let found = self.find(id)?.model;
        if found.source == ModelSource::HuggingFaceCache {
            return Err(LibraryError::NotOurs { id: id.clone(), path: found.path });
        }
        let failed = |path: &Path| {
            let (id, path) = (id.clone(), path.to_owned());
            move |source| LibraryError::Storage { id, path, source }
        };
        let place = found.path.parent().unwrap_or(&self.root);
        let freed = fs::symlink_metadata(&found.path).and_then(|metadata| {
            if metadata.is_symlink() {
                // A link is taken away, what it leads to is somebody's own.
                return fs::remove_file(&found.path).map(|()| 0);
            }
            let freed = freed(&found.path);
            let aside = aside(place, id);
            if aside.exists() {
                fs::remove_dir_all(&aside)?;
            }
            fs::rename(&found.path, &aside)?;
            fs::remove_dir_all(&aside).map(|()| freed)
        });
        let freed = freed.map_err(failed(&found.path));
        self.look();
        freed
    }

    /// Removes what removals left that were broken off.
    pub fn sweep(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(REMOVED.as_bytes()) {
                let path = entry.path();
                if let Err(error) = fs::remove_dir_all(&path) {
                    tracing::warn!(path = %path.display(), %error, "cannot remove what is left of a deleted model");
                }
            }
        }
    }

    fn unfinished(&self) -> Vec<StoredPull> {
        let folders = fs::read_dir(self.root.join(PULLS)).into_iter().flatten().flatten();
        let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut pulls: Vec<StoredPull> = folders
            .map(|entry| StoredPull {
                model: id_of(&entry.file_name().to_string_lossy()),
                size: files(&entry.path()).values().sum(),
            })
            .collect();
        pulls.sort_by(|a, b| a.model.cmp(&b.model));
        pulls
    }
}

/// Where a model that is removed or replaced is put until it is gone; [`Library::sweep`] removes what stays there.
pub fn aside(place: &Path, id: &ModelId) -> PathBuf {
    place.join(format!("{REMOVED}{}", id.folder()))
}

/// The files below a folder, each with its bytes.
fn files(folder: &Path) -> BTreeMap<File, u64> {
    let mut files = BTreeMap::new();
    visit(folder, MAX_DEPTH, &mut |file| {
        files.insert((file.dev(), file.ino()), bytes(file));
    });
    files
}

/// Bytes of a folder that nobody else has a name for.
fn freed(folder: &Path) -> u64 {
    let mut freed = 0;
    visit(folder, MAX_DEPTH, &mut |file| freed += if file.nlink() == 1 { bytes(file) } else { 0 });
    freed
}

/// Holes are not there, and neither is what lies behind the end of a file in its last block.
fn bytes(file: &Metadata) -> u64 {
    file.len().min(file.blocks() * 512)
}

/// Shows every file below a folder; links to files are followed, links to folders are not.
fn visit(folder: &Path, depth: usize, each: &mut impl FnMut(&Metadata)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_file() => each(&metadata),
            Ok(_) if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) => {
                visit(&entry.path(), depth - 1, each);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
