//! Which files of a model's folder hold its weights, the same for every engine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

const INDEX: &str = "model.safetensors.index.json";

/// Longest index that is read: a hundred thousand tensors.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Names of the files that the index names; without one, of `model*.safetensors`, or else of `weights*.safetensors`. An
/// error says what is wrong with the folder.
pub fn weight_files(folder: &Path) -> Result<BTreeSet<String>, String> {
    match indexed(folder)? {
        Some(names) => Ok(names),
        None => listed(folder),
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: Map<String, Value>,
}

fn indexed(folder: &Path) -> Result<Option<BTreeSet<String>>, String> {
    let path = folder.join(INDEX);
    let broken = |why: String| format!("{}: {why}", path.display());
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
    names.collect::<Result<_, _>>().map(Some)
}

fn listed(folder: &Path) -> Result<BTreeSet<String>, String> {
    let broken = |why: &dyn std::fmt::Display| format!("{}: {why}", folder.display());
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
