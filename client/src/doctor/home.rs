//! The folder of all that lasts: there, this user's, with room.

use std::fs;
use std::path::Path;

use rustix::fs::Access;

use super::files::{move_aside, private};
use super::{Patient, Said, fine, problem, quoted, warning};
use crate::render::bytes;

/// Less room than this stops downloads and soon the rest; with less than the second a model has no room.
const NO_ROOM: u64 = 64 << 20;
const LITTLE_ROOM: u64 = 1 << 30;

pub fn check(patient: &Patient) -> Said {
    let home = &patient.paths.home;
    let shown = home.display();
    let found = match fs::metadata(home) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && fs::symlink_metadata(home).is_ok() => {
            let what = format!("{shown} is a link to what is not there: is its disk mounted?");
            return vec![problem(what, format!("ls -l {}", quoted(home)))];
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let what =
                format!("{shown} is not there: talkied has not run with this home yet, or its disk is not mounted");
            return vec![warning(what, "talkiectl models")];
        }
        Err(error) => return vec![problem(format!("{shown} cannot be looked at: {error}"), "echo \"$TALKIE_HOME\"")],
        Ok(found) => found,
    };
    if !found.is_dir() {
        return vec![problem(format!("{shown} is no folder"), move_aside(home))];
    }
    let mut said = private(home, &found, "they can read what talkied keeps");
    said.extend(writable(home));
    said.extend(room(home));
    if said.is_empty() { vec![fine(format!("{shown} is yours and can be written"))] } else { said }
}

fn writable(home: &Path) -> Said {
    let shown = home.display();
    match rustix::fs::access(home, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Vec::new(),
        Err(rustix::io::Errno::ROFS) => {
            let what = format!("{shown} is on a disk that can only be read");
            vec![problem(what, "export TALKIE_HOME=FOLDER")]
        }
        Err(error) => {
            let what = format!("{shown} cannot be written: {}", std::io::Error::from(error));
            vec![problem(what, format!("chmod u+rwx {}", quoted(home)))]
        }
    }
}

fn room(home: &Path) -> Said {
    let Ok(disk) = rustix::fs::statvfs(home) else { return Vec::new() };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let what = format!("{} has {} left on its disk", home.display(), bytes(free));
    match free {
        0..NO_ROOM => vec![problem(what, "talkiectl du; talkiectl rm MODEL")],
        NO_ROOM..LITTLE_ROOM => vec![warning(what, "talkiectl du; talkiectl rm MODEL")],
        _ => Vec::new(),
    }
}
