//! NVIDIA's compiler, which compiles kernels for GPUs on machines that have none: tests have it read those of ours.

use std::fs;
use std::path::PathBuf;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::setup::pip::{self, Requirements};

/// Of the version that MLX's build for CUDA 13 brings.
const PIN: &str = "nvidia-cuda-nvrtc==13.0.88";

/// Raised when the entry is made in another way, so that an older one is not taken.
const RECIPE: u32 = 1;

/// The library, fetched where it is missing: some 90 MB.
pub fn library(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.get_or_make(&format!("nvrtc-{RECIPE}"), |folder| {
        eprintln!("fetching NVIDIA's compiler: {PIN}");
        let wheels = folder.join("wheels");
        pip::unpack(&pip::download(PIN, Requirements::Leave, None, &wheels)?, folder)?;
        fs::remove_dir_all(&wheels).map_err(Error::io("remove", &wheels))
    })?;
    Ok(folder.join("nvidia/cu13/lib/libnvrtc.so.13"))
}
