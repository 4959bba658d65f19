//! What tells that the files of providers have changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Of each file its name, place, size, time and mode.
pub(super) type Signs = Vec<(PathBuf, u64, u64, i64, i64, u32)>;

/// Those of the settings and of the keys.
pub(super) fn signs(settings: &Path, keys: &Path) -> Signs {
    let keys = fs::read_dir(keys).into_iter().flatten().flatten().take(256).map(|entry| entry.path());
    let mut signs: Signs = std::iter::once(settings.to_path_buf()).chain(keys).filter_map(sign).collect();
    signs.sort();
    signs
}

fn sign(path: PathBuf) -> Option<(PathBuf, u64, u64, i64, i64, u32)> {
    let meta = fs::metadata(&path).ok()?;
    Some((path, meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.mode()))
}
