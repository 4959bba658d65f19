//! The small files that belong to a model: tokenizer, templates, defaults of generation. They are carried over as they
//! are; config.json and the index are written anew.

use std::fs;
use std::io::Read;
use std::path::Path;

use engine::convert::{MAX_DOCUMENT_BYTES, POOLING, is_document};

use super::target::Target;
use crate::error::{Error, Result};

/// Most files of a folder that are looked at.
const MAX_FILES: usize = 10_000;

/// Copies them.
pub fn copy(from: &Path, target: &Target) -> Result<()> {
    let broken = |error| Error::Broken(format!("{}: {error}", from.display()));
    for entry in fs::read_dir(from).map_err(broken)?.take(MAX_FILES) {
        if let Ok(name) = entry.map_err(broken)?.file_name().into_string()
            && is_carried(&name)
        {
            copy_file(&from.join(&name), target, &name)?;
        }
    }
    let pooling = from.join(POOLING[0]).join(POOLING[1]);
    if pooling.is_file() {
        target.folder(POOLING[0])?;
        copy_file(&pooling, target, &POOLING.join("/"))?;
    }
    Ok(())
}

fn is_carried(name: &str) -> bool {
    is_document(name) && name != "config.json" && !name.ends_with(".index.json")
}

/// Links are followed; what is no regular file at their end is passed over, for opening it might wait.
fn copy_file(from: &Path, target: &Target, name: &str) -> Result<()> {
    let broken = |why: String| Error::Broken(format!("{}: {why}", from.display()));
    if !fs::metadata(from).is_ok_and(|file| file.is_file()) {
        return Ok(());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(from).map_err(|error| broken(error.to_string()))?;
    file.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| broken(error.to_string()))?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(broken(format!("more than the {MAX_DOCUMENT_BYTES} bytes that are carried over")));
    }
    target.write(name, &bytes)
}
