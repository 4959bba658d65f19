//! Steps that write a file: the whole of it or nothing, and never over what the daemon lives from.
//!
//! In reading order: `place` decides where a file may be, `whole` writes it under a hidden name and gives it its own.
//! `append` adds to a file, by one write.

mod place;
mod whole;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::Failure;

/// Most that is appended at once, in bytes.
const LONGEST_APPEND: usize = 1 << 20;

/// A file to write.
#[derive(Debug, Clone)]
pub struct File {
    /// Where: absolute, or beginning with `~/`, and without `..`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// What is done with a file that is there.
    pub exists: Exists,
}

/// What is done with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exists {
    /// It is replaced; its mode stays.
    #[default]
    Replace,
    /// It stays, and the step fails.
    Fail,
    /// It stays, and the new one is `a-2.json`, or the first of those that follow.
    Number,
    /// The text is added to it, with one write, which is not done over when it was done in part.
    Append,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where: absolute, and not by way of links.
    pub path: PathBuf,
    /// How many bytes.
    pub bytes: usize,
}

/// Folders that decide where files may be.
#[derive(Debug, Clone)]
pub struct Homes {
    /// What `~` stands for.
    pub user: PathBuf,
    /// The daemon's own, of which only `Workflows/out` may be written to.
    pub daemon: PathBuf,
}

/// Writes a file, of which `claim` is told before it has its name; folders that are missing are made, for the user
/// alone. Dropping the future does not stop what has begun.
pub async fn save(
    file: File,
    homes: Homes,
    claim: impl Fn(&Path) -> io::Result<()> + Send + 'static,
) -> Result<Output, Failure> {
    let saving = tokio::task::spawn_blocking(move || written(&file, &homes, &claim));
    saving.await.map_err(|_| Failure::may_pass("writing a file broke off"))?
}

fn written(file: &File, homes: &Homes, claim: &dyn Fn(&Path) -> io::Result<()>) -> Result<Output, Failure> {
    let place = place::of(file, homes)?;
    place.make_folders()?;
    let path = place.path();
    let failed = |error: io::Error| failure(&error, &path);
    let text = file.text.as_bytes();
    if file.exists != Exists::Number {
        claim(&path).map_err(failed)?;
    }
    let path = match file.exists {
        Exists::Replace => whole::replace(&path, text).map_err(failed)?,
        Exists::Fail => whole::add(&path, text).map_err(failed)?,
        Exists::Number => whole::number(&path, text, claim).map_err(failed)?,
        Exists::Append => append(&path, text)?,
    };
    Ok(Output { path, bytes: text.len() })
}

/// Adds to the end of a file by one write, so that what others add meanwhile stands before or behind it.
fn append(path: &Path, text: &[u8]) -> Result<PathBuf, Failure> {
    if text.len() > LONGEST_APPEND {
        let words = format!("{} bytes are more than the {LONGEST_APPEND} that can be appended at once", text.len());
        return Err(Failure::Final(format!("{words} to {}", path.display())));
    }
    let failed = |error: io::Error| failure(&error, path);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let mut file = opened.map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::from(io::ErrorKind::InvalidInput)));
    }
    let count = file.write(text).map_err(failed)?;
    if count < text.len() {
        let words =
            format!("only {count} of {} bytes were appended to {}: the disk is full", text.len(), path.display());
        return Err(Failure::Final(words));
    }
    // It is written; whether it is on the disk is all that fails here, and another try would write it twice.
    file.sync_all().map_err(|error| Failure::last(format!("{} may not be on the disk: {error}", path.display())))?;
    Ok(path.to_path_buf())
}

/// What an error of the system means for a file.
fn failure(error: &io::Error, path: &Path) -> Failure {
    let (shown, folder) = (path.display(), path.parent().unwrap_or(path).display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::may_pass(format!("{shown} is not written: the disk is full, or the user's share of it"))
        }
        // It was there, or made, a moment ago.
        io::ErrorKind::NotFound => Failure::may_pass(format!("the folder {folder} is gone")),
        io::ErrorKind::IsADirectory => Failure::last(format!("{shown} is a folder, so no file can be written there")),
        io::ErrorKind::NotADirectory => {
            Failure::last(format!("{shown} cannot be written: a part of its path is no folder"))
        }
        io::ErrorKind::AlreadyExists => {
            Failure::last(format!("{shown} is there already; `exists` can be \"replace\", \"number\" or \"append\""))
        }
        io::ErrorKind::InvalidInput => Failure::last(format!("{shown} is neither a file nor free to be one")),
        io::ErrorKind::InvalidFilename => Failure::last(format!("the name of {shown} is too long for its disk")),
        io::ErrorKind::PermissionDenied => {
            Failure::last(format!("{shown} is not written: it is not allowed in {folder}"))
        }
        io::ErrorKind::ReadOnlyFilesystem => Failure::last(format!("{shown} is not written: its disk is read-only")),
        _ => Failure::may_pass(format!("failed to write {shown}: {error}")),
    }
}

#[cfg(test)]
#[path = "save_file_tests.rs"]
mod tests;
