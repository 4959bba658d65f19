//! Which files a model is loaded from: a folder of safetensors, a folder with a GGUF file, or such a file alone.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::gguf::{self, Gguf};
use crate::weights::Source;

/// Opens what `path` names. A `config.json` comes before what a GGUF file says of itself.
pub fn open(path: &Path) -> Result<(Config, Source)> {
    let (folder, file) = if path.is_dir() { (path, only_gguf(path)?) } else { (folder(path), Some(path.to_owned())) };
    let Some(file) = file else {
        let config = Config::read(folder)?;
        let source = Source::safetensors(folder, config.prefix)?;
        return Ok((config, source));
    };
    if folder.join("config.json").exists() {
        // Before the file, which may be large and of an architecture that is not known.
        let config = Config::read(folder)?;
        return Ok((config, Source::Gguf(Gguf::open(&file)?)));
    }
    let gguf = Gguf::open(&file)?;
    Ok((Config::new(&gguf::config(&gguf)?, &file)?, Source::Gguf(gguf)))
}

/// Where the files beside `path` lie.
pub fn folder(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(path) }
}

/// The one GGUF file of a folder without safetensors.
fn only_gguf(folder: &Path) -> Result<Option<PathBuf>> {
    let broken = |why: &dyn std::fmt::Display| Error::Broken(format!("{}: {why}", folder.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| broken(&error))? {
        let path = entry.map_err(|error| broken(&error))?.path();
        match path.extension().and_then(|end| end.to_str()) {
            Some("safetensors") => return Ok(None),
            Some("gguf") => files.push(path),
            _ => {}
        }
    }
    if files.len() > 1 {
        return Err(broken(&format!(
            "{} GGUF files, of which one must be chosen: load it by its own path",
            files.len()
        )));
    }
    Ok(files.pop())
}
