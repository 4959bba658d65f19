//! Where a file may be written. Links are followed before that is decided, so that none leads into the daemon's home.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::super::Failure;
use super::{File, Homes, failure};

/// The one folder of the daemon's home that workflows write to.
const OUT: &str = "out";

/// Where a file is to be.
#[derive(Debug)]
pub(super) struct Place {
    /// The nearest folder that is there, not by way of links.
    folder: PathBuf,
    /// Folders below it that are not there.
    missing: PathBuf,
    name: PathBuf,
}

impl Place {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.missing).join(&self.name)
    }

    /// Makes what is missing, for the user alone.
    pub(super) fn make_folders(&self) -> Result<(), Failure> {
        if self.missing.as_os_str().is_empty() {
            return Ok(());
        }
        let folder = self.folder.join(&self.missing);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| failure(&error, &self.path()))
    }
}

/// Where a file is to be, or why it may not be there.
pub(super) fn of(file: &File, homes: &Homes) -> Result<Place, Failure> {
    let path = absolute(&file.path, homes)?;
    let path = followed(&path)?;
    let place = nearest(&path)?;
    check_home(&place, &homes.daemon)?;
    Ok(place)
}

/// A path as it is written, without what would lead elsewhere than it says.
fn absolute(text: &str, homes: &Homes) -> Result<PathBuf, Failure> {
    let refuse = |why: &str| Err(Failure::Final(format!("`path` {text:?} {why}")));
    let path = match text.strip_prefix("~/") {
        Some(rest) => homes.user.join(rest.trim_start_matches('/')),
        None => PathBuf::from(text),
    };
    if text.contains('\0') {
        return refuse("has a NUL, which no name can have");
    }
    if !path.is_absolute() {
        return refuse("neither begins with / nor with ~/");
    }
    if text.ends_with('/') || text.ends_with("/.") || path.file_name().is_none() {
        return refuse("names no file");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return refuse("has `..`; where names are made of texts, the filter `safe_name` makes them safe");
    }
    Ok(path)
}

/// What a link at the end of the path leads to, for that is what is written.
fn followed(path: &Path) -> Result<PathBuf, Failure> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_symlink() => {
            path.canonicalize().map_err(|_| Failure::last(format!("{} is a link to what is not there", path.display())))
        }
        _ => Ok(path.to_path_buf()),
    }
}

fn nearest(path: &Path) -> Result<Place, Failure> {
    let name = PathBuf::from(path.file_name().unwrap_or_default());
    let (mut folder, mut missing) = (path.parent().unwrap_or(path), PathBuf::new());
    loop {
        match folder.canonicalize() {
            Ok(found) if found.is_dir() => return Ok(Place { folder: found, missing, name }),
            Ok(_) => return Err(failure(&io::ErrorKind::NotADirectory.into(), path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.symlink_metadata().is_err() => {
                let last = folder.file_name().unwrap_or_default();
                missing = if missing.as_os_str().is_empty() { last.into() } else { Path::new(last).join(missing) };
                folder = folder.parent().unwrap_or(Path::new("/"));
            }
            Err(error) => return Err(failure(&error, path)),
        }
    }
}

/// That a file is not among what the daemon lives from. Folders are compared by what they are, for names can differ.
fn check_home(place: &Place, home: &Path) -> Result<(), Failure> {
    let workflows = home.join("Workflows");
    let below = place.missing.join(&place.name);
    for folder in place.folder.ancestors() {
        let rest = place.folder.strip_prefix(folder).unwrap_or(Path::new("")).join(&below);
        let is_out = |rest: &Path| rest.starts_with(OUT) && rest != Path::new(OUT);
        let is_allowed = if is_same(folder, &workflows) {
            is_out(&rest)
        } else if is_same(folder, home) {
            rest.strip_prefix("Workflows").is_ok_and(is_out)
        } else {
            continue;
        };
        if !is_allowed {
            let words = "lies in talkied's own folder, of which workflows write to Workflows/out alone";
            return Err(Failure::last(format!("{} {words}", place.path().display())));
        }
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    id(one).is_some_and(|one| id(other) == Some(one))
}
