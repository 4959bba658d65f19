//! Files that are there whole or not at all: written under a hidden name beside their own, and on the disk before they
//! have it.
//!
//! The hidden name `.NAME.new` is the same at each try, so that what a daemon left that was killed is used again. A lock
//! of the system's says whose it is, and ends with who holds it; who finds one held takes the next name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

/// Longest part of a name that is in the hidden one, in bytes.
const LONGEST_STEM: usize = 200;

/// Most files that are numbered.
const MOST_NUMBERS: u32 = 10_000;

/// How many hidden names are tried.
const MOST_HIDDEN: u32 = 64;

/// Puts a file where another may be, whose mode it takes.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<PathBuf> {
    let mode = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(meta) if !meta.is_file() => return Err(io::ErrorKind::InvalidInput.into()),
        Ok(meta) => Some(meta.mode() & 0o7777),
        Err(_) => None,
    };
    let hidden = Hidden::write(path, text, mode)?;
    fs::rename(&hidden.path, path)?;
    Ok(hidden.has_its_name(path))
}

/// Puts a file where nothing is.
pub(super) fn add(path: &Path, text: &[u8]) -> io::Result<PathBuf> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let hidden = Hidden::write(path, text, None)?;
    hidden.take(path)?;
    Ok(hidden.has_its_name(path))
}

/// Puts a file where nothing is, under the first free number, of which `claim` is told before.
pub(super) fn number(path: &Path, text: &[u8], claim: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    let hidden = Hidden::write(path, text, None)?;
    for number in 1..=MOST_NUMBERS {
        let numbered = numbered(path, number);
        if numbered.symlink_metadata().is_ok() {
            continue;
        }
        claim(&numbered)?;
        match hidden.take(&numbered) {
            Ok(()) => return Ok(hidden.has_its_name(&numbered)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `a.json` is the first, then `a-2.json`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 1 {
        return path.to_path_buf();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// A file that has its hidden name still. Dropping it removes it.
struct Hidden {
    path: PathBuf,
    /// Holds the lock.
    file: File,
    is_named: bool,
}

impl Hidden {
    /// A whole file on the disk, of mode 0600 where none is named.
    fn write(path: &Path, text: &[u8], mode: Option<u32>) -> io::Result<Self> {
        let hidden = Self::open(path)?;
        let mut file = &hidden.file;
        file.set_len(0)?;
        file.write_all(text)?;
        file.set_permissions(Permissions::from_mode(mode.unwrap_or(0o600)))?;
        file.sync_all()?;
        Ok(hidden)
    }

    fn open(path: &Path) -> io::Result<Self> {
        for number in 1..=MOST_HIDDEN {
            let hidden = hidden_name(path, number);
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
            let file = match options.open(&hidden) {
                Ok(file) => file,
                // What is no file has that name, or one that may not be written.
                Err(_) if hidden.symlink_metadata().is_ok() => continue,
                Err(error) => return Err(error),
            };
            let is_ours = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            // Whoever held it may have given it its name meanwhile.
            let is_there = fs::symlink_metadata(&hidden).is_ok_and(|meta| {
                file.metadata().is_ok_and(|own| own.is_file() && (own.dev(), own.ino()) == (meta.dev(), meta.ino()))
            });
            if is_ours && is_there {
                return Ok(Self { path: hidden, file, is_named: false });
            }
        }
        Err(io::Error::other("too many files of that name are being written"))
    }

    /// Gives it a name that nobody has.
    fn take(&self, path: &Path) -> io::Result<()> {
        match fs::hard_link(&self.path, path) {
            // It has two names now. The lock is held still, so that the hidden one is nobody else's.
            Ok(()) => fs::remove_file(&self.path),
            // A disk that knows no second names; whoever takes the name in this moment loses it.
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
                if path.symlink_metadata().is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(&self.path, path)
            }
            Err(error) => Err(error),
        }
    }

    /// After it has its name: has the disk know it too.
    fn has_its_name(mut self, path: &Path) -> PathBuf {
        self.is_named = true;
        if let Some(folder) = path.parent() {
            // The file is there; not every disk writes folders when it is asked to.
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        path.to_path_buf()
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if !self.is_named {
            // Hidden, and used again at the next try.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn hidden_name(path: &Path, number: u32) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut hidden = OsString::from(".");
    hidden.push(OsString::from_vec(name[..name.len().min(LONGEST_STEM)].to_vec()));
    hidden.push(if number == 1 { ".new".to_owned() } else { format!(".new-{number}") });
    path.with_file_name(hidden)
}
