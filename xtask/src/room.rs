//! Room on the disk of temporary files: what fails for want of it halfway says so at length and in other words.

use std::env;
use std::path::Path;

use crate::error::{Error, Result};

/// What the tests write at once, and what `talkiectl doctor` wants left before it finds nothing.
const TESTS_NEED: u64 = 4 << 30;

/// An error where the disk of temporary files has less room than the tests need.
pub fn check() -> Result<()> {
    let folder = env::temp_dir();
    let disk = rustix::fs::statvfs(&folder).map_err(|error| Error::io("look at", &folder)(error.into()))?;
    enough(&folder, disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn enough(folder: &Path, left: u64) -> Result<()> {
    if left >= TESTS_NEED {
        return Ok(());
    }
    let folder = folder.display();
    let (need, left) = (TESTS_NEED >> 20, left >> 20);
    Err(Error::Unexpected(format!(
        "the tests need {need} MiB in {folder}, and {left} MiB are left there: make room, or set TMPDIR to another folder"
    )))
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
