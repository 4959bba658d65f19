//! What lies in a watched folder, and what stands in a file of it. Blocks; called by `look` alone.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use workflow::file::Pattern;

use super::super::super::store::Stamp;

/// Files that are waited for at once; the oldest first. Others have their turn afterwards.
pub const MOST_AWAITED: usize = 1024;

/// Ends of the names of files that are not whole yet, or that are somebody's copies.
const UNFINISHED: [&str; 5] = ["~", ".tmp", ".part", ".partial", ".crdownload"];

/// What is new in a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Files that were not seen before, as they are now, the oldest first.
    pub new: Vec<Stamp>,
    /// Whether there are more of them.
    pub more: bool,
}

/// Why a file starts nothing.
#[derive(Debug)]
pub enum Unfit {
    /// It is not there any more.
    Gone,
    /// It is another now than when it was looked at, or cannot be read now.
    Later,
    /// What it is, in words.
    Never(String),
}

/// The files of a folder that were not seen before, by paths that lead by no link. Links are no files: nothing out of the
/// folder is ever read. Of those that were seen, what has gone is forgotten.
pub fn list(folder: &Path, pattern: &Pattern, seen: &mut HashSet<u64>, most: usize) -> io::Result<Listing> {
    let folder = folder.canonicalize()?;
    let mut found = BTreeMap::new();
    let mut known = HashSet::new();
    let mut more = false;
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if !is_meant(&entry.file_name(), pattern) {
            continue;
        }
        // One that has gone meanwhile.
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        let stamp = stamp(entry.path(), &metadata);
        if !metadata.is_file() {
            continue;
        }
        let number = stamp.number();
        if seen.contains(&number) {
            known.insert(number);
            continue;
        }
        found.insert((stamp.written, stamp.path.clone()), stamp);
        if found.len() > most {
            found.pop_last();
            more = true;
        }
    }
    *seen = known;
    Ok(Listing { new: found.into_values().collect(), more })
}

fn is_meant(name: &OsStr, pattern: &Pattern) -> bool {
    let name = name.to_string_lossy();
    let lower = name.to_ascii_lowercase();
    !name.starts_with('.') && !UNFINISHED.iter().any(|end| lower.ends_with(end)) && pattern.matches(&name)
}

fn stamp(path: PathBuf, metadata: &Metadata) -> Stamp {
    let written = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    Stamp { path, inode: metadata.ino(), bytes: metadata.len(), written }
}

/// The text of a file that is as it was when it was looked at, and the hash of that.
pub fn read(seen: &Stamp, most_bytes: u64) -> Result<(String, String), Unfit> {
    let later = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unfit::Gone,
        io::ErrorKind::PermissionDenied => Unfit::Never("it may not be read".into()),
        _ => Unfit::Later,
    };
    if seen.path.to_str().is_none() {
        return Err(Unfit::Never("its name is no text in UTF-8".into()));
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&seen.path).map_err(later)?;
    let is_same = || Ok(stamp(seen.path.clone(), &file.metadata().map_err(later)?) == *seen);
    if !is_same()? {
        return Err(Unfit::Later);
    }
    if seen.bytes > most_bytes {
        let words = format!("it has {} bytes, more than the {most_bytes} of `most_bytes`", seen.bytes);
        return Err(Unfit::Never(words));
    }
    let mut bytes = Vec::new();
    (&file).take(most_bytes + 1).read_to_end(&mut bytes).map_err(later)?;
    if bytes.len() as u64 != seen.bytes || !is_same()? {
        return Err(Unfit::Later);
    }
    let hash = Sha256::digest(&bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, hash)),
        Err(_) => Err(Unfit::Never("it is no text in UTF-8".into())),
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
