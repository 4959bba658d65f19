//! The hidden folder in which a model grows, and the lock that lets one import of a library run at a time.
//!
//! With the lock held, any other hidden folder of an import belongs to a process that died, and is removed: no
//! process numbers are compared, which the system gives out again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use protocol::ModelId;

use super::ImportError;

/// Held by the import that runs; stays in the root.
const LOCK: &str = ".import.lock";

/// Part of the names of folders that grow.
const MARK: &str = ".incoming-";

/// A folder that grows. Dropped before it is installed, it vanishes.
#[derive(Debug)]
pub(super) struct Incoming {
    path: PathBuf,
    installed: bool,
    /// Released last.
    _lock: File,
}

impl Incoming {
    /// Waits for other imports into the root, removes what dead ones left, and makes an empty folder.
    pub(super) fn begin(root: &Path, id: &ModelId) -> Result<Self, ImportError> {
        let begin = || {
            fs::create_dir_all(root)?;
            let lock = File::options().create(true).append(true).open(root.join(LOCK))?;
            lock.lock()?;
            remove_leftovers(root)?;
            let path = root.join(format!(".{}{MARK}{}", id.folder(), std::process::id()));
            fs::create_dir(&path)?;
            Ok(Self { path, installed: false, _lock: lock })
        };
        begin().map_err(|source| ImportError::Write { path: root.to_path_buf(), source })
    }

    /// Where the folder is for now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a whole file and makes it last.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ImportError> {
        let path = self.path.join(name);
        let write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|source| ImportError::Write { path: path.clone(), source })
    }

    /// Makes a folder in it.
    pub(super) fn folder(&self, name: &str) -> Result<(), ImportError> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(|source| ImportError::Write { path, source })
    }

    /// Takes what lies in one of its folders, which goes.
    pub(super) fn adopt(&self, name: &str) -> Result<(), ImportError> {
        let folder = self.path.join(name);
        let adopt = || {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                fs::rename(entry.path(), self.path.join(entry.file_name()))?;
            }
            fs::remove_dir(&folder)
        };
        adopt().map_err(|source| ImportError::Write { path: folder.clone(), source })
    }

    /// Gives the folder its name, which must be free, and makes that last. Until then all of it lies at `path`.
    pub(super) fn install(mut self, target: &Path) -> Result<(), ImportError> {
        let mut install = || {
            File::open(&self.path)?.sync_all()?;
            fs::rename(&self.path, target)?;
            let grown_in = std::mem::replace(&mut self.path, target.to_path_buf());
            grown_in.parent().map_or(Ok(()), |root| File::open(root)?.sync_all())
        };
        install().map_err(|source| ImportError::Write { path: target.to_path_buf(), source })?;
        self.installed = true;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.installed {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            // The next import tries again.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an unfinished import");
        }
    }
}

fn remove_leftovers(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.contains(MARK) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
