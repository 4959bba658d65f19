//! The cache folder: what set-up fetches and builds, outside the checkout, shared by all checkouts.
//!
//! An entry is a folder that appears complete or not at all: it is made in a temporary sibling under a file lock and
//! renamed at the end. An interrupted run leaves only the sibling, which the next run removes.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The cache folder.
pub struct Cache {
    home: PathBuf,
}

impl Cache {
    /// `$TALKIE_MLX_HOME`, else `talkied/mlx` in the user's cache folder.
    pub fn open() -> Result<Self> {
        let home = home_of(|name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        })?;
        let home = std::path::absolute(&home).map_err(Error::io("find", &home))?;
        fs::create_dir_all(&home).map_err(Error::io("create", &home))?;
        Ok(Self { home })
    }

    /// The entry's folder, if it is there.
    pub fn find(&self, entry: &str) -> Option<PathBuf> {
        let folder = self.home.join(entry);
        folder.is_dir().then_some(folder)
    }

    /// The entry's folder, made by `make` where it is missing. Waits for another process that is making it.
    pub fn get_or_make(
        &self,
        entry: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(folder) = self.find(entry) {
            return Ok(folder);
        }
        let _lock = self.lock(entry)?;
        if let Some(folder) = self.find(entry) {
            return Ok(folder);
        }
        let unfinished = self.home.join(format!("{entry}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
        }
        fs::create_dir(&unfinished).map_err(Error::io("create", &unfinished))?;
        make(&unfinished)?;
        let folder = self.home.join(entry);
        fs::rename(&unfinished, &folder).map_err(Error::io("rename", &unfinished))?;
        Ok(folder)
    }

    /// The lock is given up when the file is dropped, or by the system when the process ends.
    fn lock(&self, entry: &str) -> Result<File> {
        let path = self.home.join(format!("{entry}.lock"));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another process that makes {entry}");
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
        }
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }
}

fn home_of(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(home) = variable("TALKIE_MLX_HOME") {
        return Ok(home);
    }
    let cache = if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Caches"))
    } else {
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
    };
    let cache =
        cache.ok_or_else(|| Error::Unexpected("neither HOME nor TALKIE_MLX_HOME is set".into()))?;
    Ok(cache.join("talkied/mlx"))
}

#[cfg(test)]
mod tests;
