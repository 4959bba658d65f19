//! Which files hold the weights of a model.

use std::path::{Path, PathBuf};

use super::header;
use crate::error::{Error, Result};

/// A weight file whose header was found sound.
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// The files that the index names; without one, `model*.safetensors`, or else `weights*.safetensors`.
pub fn find(folder: &Path) -> Result<Vec<File>> {
    let names = engine::weight_files(folder).map_err(Error::Broken)?;
    names.into_iter().map(|name| File::check(folder.join(name))).collect()
}

impl File {
    fn check(path: PathBuf) -> Result<Self> {
        match header::check(&path) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(why) => Err(Error::Broken(format!("{}: {why}", path.display()))),
        }
    }
}
