//! Files and folders of a service: compared, written whole or not at all, removed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::ServiceFile;
use super::error::Error;

/// launchd refuses files that others could change; both read them as the user or as root.
const MODE: u32 = 0o644;

/// A file of ours is a few thousand bytes.
const MOST_BYTES: u64 = 64 * 1024;

/// Whether exactly that file is there, as a file of this user that nobody else can change.
pub(super) fn is_there(file: &ServiceFile) -> bool {
    let ours = |found: fs::Metadata| {
        found.is_file() && found.uid() == rustix::process::geteuid().as_raw() && found.permissions().mode() & 0o022 == 0
    };
    fs::symlink_metadata(&file.path).is_ok_and(ours) && read(&file.path).is_some_and(|text| text == file.text)
}

/// What a file says; `None` when it cannot be one of ours.
pub(super) fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text)).ok()?;
    Some(text)
}

/// Makes a folder, for its user alone, where it is missing; one that is there stays as it is.
pub(super) fn make_folder(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error::io("make the folder", path, source))
}

/// Writes a file beside its place and moves it there, over whatever lies there.
pub(super) fn write(file: &ServiceFile) -> Result<(), Error> {
    let ServiceFile { path, text } = file;
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let beside = path.with_extension(format!("new{}", std::process::id()));
    let written = write_new(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // The error to tell is the first one.
        let _ = fs::remove_file(&beside);
        Error::io("write", path, source)
    })
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    // One that a process of the same number left behind.
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    // Whatever the umask is.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.sync_all()
}

/// Removes a file; one that is not there is removed.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, source)),
        _ => Ok(()),
    }
}
