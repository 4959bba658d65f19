//! Which files hold the weights of a model.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::header;
use crate::error::{Error, Result};

const INDEX: &str = "model.safetensors.index.json";

/// Longest index that is read: a hundred thousand tensors.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// A weight file whose header was found sound.
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// The files that the index names; without one, `model*.safetensors`, or else `weights*.safetensors`.
pub fn find(folder: &Path) -> Result<Vec<File>> {
    let names = match indexed(folder)? {
        Some(names) => names,
        None => listed(folder)?,
    };
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

#[derive(Deserialize)]
struct Index {
    weight_map: Map<String, Value>,
}

fn indexed(folder: &Path) -> Result<Option<BTreeSet<String>>> {
    let path = folder.join(INDEX);
    let broken = |why: String| Error::Broken(format!("{}: {why}", path.display()));
    match fs::metadata(&path) {
        Err(_) => return Ok(None),
        Ok(file) if file.len() > MAX_INDEX_BYTES => return Err(broken(format!("{} bytes are too many", file.len()))),
        Ok(_) => {}
    }
    let text = fs::read(&path).map_err(|error| broken(error.to_string()))?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    let names = index.weight_map.values().map(|name| match name.as_str() {
        // A model's files lie in its own folder.
        Some(name) if Path::new(name).file_name() == Some(name.as_ref()) => Ok(name.to_owned()),
        _ => Err(broken(format!("{name} is not the name of a file"))),
    });
    names.collect::<Result<_>>().map(Some)
}

fn listed(folder: &Path) -> Result<BTreeSet<String>> {
    let broken = |why: &dyn std::fmt::Display| Error::Broken(format!("{}: {why}", folder.display()));
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(|error| broken(&error))? {
        let entry = entry.map_err(|error| broken(&error))?;
        names.extend(entry.file_name().into_string());
    }
    for start in ["model", "weights"] {
        let chosen = |name: &&String| name.starts_with(start) && name.ends_with(".safetensors");
        let chosen: BTreeSet<_> = names.iter().filter(chosen).cloned().collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
    }
    Err(broken(&"no weights, neither model*.safetensors nor weights*.safetensors"))
}
