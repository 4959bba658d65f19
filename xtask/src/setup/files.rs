//! Listing a folder's files of one kind.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The files of a folder with this extension, sorted.
pub fn with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(Error::io("read", folder))?;
    paths.retain(|path| path.extension() == Some(OsStr::new(extension)));
    paths.sort();
    Ok(paths)
}
