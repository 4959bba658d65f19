//! How full a disk is.

use std::io;
use std::path::Path;

/// The file system that a folder is on, or will be once it is made.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    /// Bytes that this user can still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub capacity_bytes: u64,
}

impl Disk {
    /// Asks the system.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let found = rustix::fs::statvfs(existing)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { free_bytes: bytes(found.f_bavail), capacity_bytes: bytes(found.f_blocks) })
    }
}
