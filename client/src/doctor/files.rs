//! Whose a file is and who may use it.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Said, problem, quoted, warning};

/// Permission bits of a file.
pub fn mode(found: &Metadata) -> u32 {
    found.permissions().mode() & 0o777
}

/// What is wrong with a file that should be this user's alone. `others` says what they could do there.
pub fn private(path: &Path, found: &Metadata, others: &str) -> Said {
    let own = rustix::process::geteuid().as_raw();
    let shown = path.display();
    if found.uid() != own {
        let what = format!("{shown} belongs to user {}, and you are user {own}", found.uid());
        return vec![problem(what, format!("sudo chown -R {own} {}", quoted(path)))];
    }
    if mode(found) & 0o077 != 0 {
        let what = format!("{shown} is open to others (mode {:o}): {others}", mode(found));
        return vec![warning(what, format!("chmod go= {}", quoted(path)))];
    }
    Vec::new()
}

/// A name beside a file under which it can be kept while something else takes its place.
pub fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// A command that moves a file aside.
pub fn move_aside(path: &Path) -> String {
    format!("mv {} {}", quoted(path), quoted(aside(path)))
}
