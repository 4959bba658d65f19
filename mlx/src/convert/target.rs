//! The folder that is written. Dropped before it is finished, it vanishes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};

/// The folder.
pub struct Target {
    path: PathBuf,
    finished: bool,
}

impl Target {
    /// Makes the folder, which must not be there.
    pub fn create(path: &Path) -> Result<Self> {
        match fs::create_dir(path) {
            Ok(()) => Ok(Self { path: path.to_owned(), finished: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Write(format!("{} is there already: remove it, or choose another name", path.display())))
            }
            Err(error) => Err(Error::Write(format!("make {}: {error}", path.display()))),
        }
    }

    /// A new file.
    pub fn file(&self, name: &str) -> Result<File> {
        File::create_new(self.path.join(name)).map_err(|error| self.failed(name, &error))
    }

    /// Writes a whole file and makes it last.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.file(name)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| self.failed(name, &error))
    }

    /// Writes a document.
    pub fn write_json(&self, name: &str, value: &Value) -> Result<()> {
        self.write(name, format!("{value:#}\n").as_bytes())
    }

    /// Makes a folder in it.
    pub fn folder(&self, name: &str) -> Result<()> {
        fs::create_dir(self.path.join(name)).map_err(|error| self.failed(name, &error))
    }

    /// That a file cannot be written.
    pub fn failed(&self, name: &str, error: &io::Error) -> Error {
        Error::Write(format!("write {}: {error}", self.path.join(name).display()))
    }

    /// Makes the folder last.
    pub fn finish(mut self) -> Result<()> {
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(|error| self.failed(".", &error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.finished {
            // It fails where something else took the folder away, which is as well.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
