//! The log: written, and not without bound.

use std::fs;

use super::files::private;
use super::{Patient, Said, fine, problem, quoted, warning};
use crate::render::bytes;

/// The daemon keeps 40 MiB at most; more is something else's.
const LARGE: u64 = 100 << 20;

pub fn check(patient: &Patient) -> Said {
    let folder = patient.paths.home.join("logs");
    let shown = folder.display();
    let found = match fs::metadata(&folder) {
        Err(_) if patient.answers().is_none() => return vec![fine(format!("{shown} is made when talkied runs"))],
        Err(error) => {
            let what = format!("talkied runs, but writes no log: {shown}: {error}");
            return vec![problem(what, "talkiectl stop")];
        }
        Ok(found) if !found.is_dir() => {
            let what = format!("{shown} is no folder, so talkied writes no log");
            return vec![problem(what, super::files::move_aside(&folder))];
        }
        Ok(found) => found,
    };
    let mut said = private(&folder, &found, "they can read the log");
    let sizes =
        fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    let size: u64 = sizes.sum();
    if size > LARGE {
        let fix = format!("ls -lS {0}; rm {0}/FILE", quoted(&folder));
        said.push(warning(format!("{shown} takes {}, more than talkied writes there", bytes(size)), fix));
    }
    if said.is_empty() { vec![fine(format!("{shown} takes {}", bytes(size)))] } else { said }
}
