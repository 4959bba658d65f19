//! Brings single files from a source into a folder that grows: as a second name for the same bytes, or as a copy.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use engine::convert::MAX_DOCUMENT_BYTES;

use super::incoming::Incoming;
use super::{ImportError, Progress};
use crate::bounded;

/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 1 << 20;

/// How the bytes of a file are brought over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A second name for them, or a copy where the disk refuses one.
    Link,
    /// Bytes of its own.
    Copy,
}

/// On the way from one folder to another.
pub(super) struct Carrier<'a> {
    /// The source.
    pub from: &'a Path,
    /// Where everything goes.
    pub to: &'a Incoming,
    /// The folder of all models.
    pub root: &'a Path,
    /// Bytes of all weights.
    pub total: u64,
    /// Those that are there.
    pub done: u64,
    /// Hears of them, and can end it.
    pub progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

impl Carrier<'_> {
    /// Brings one weight file over.
    pub(super) fn carry(&mut self, name: &str, way: Way) -> Result<(), ImportError> {
        self.carry_as(name, name, way)
    }

    /// The same, under another name.
    pub(super) fn carry_as(&mut self, name: &str, to: &str, way: Way) -> Result<(), ImportError> {
        if way == Way::Link {
            if let Some(bytes) = self.link(name, to)? {
                return self.count(bytes);
            }
            let bytes = fs::metadata(self.from.join(name)).map_err(|source| self.unread(name, source))?.len();
            super::check_space(self.root, bytes)?;
        }
        self.copy(name, to)
    }

    /// Copies a text, which counts for nothing.
    pub(super) fn copy_text(&mut self, name: &str) -> Result<(), ImportError> {
        let bytes =
            bounded::read(&self.from.join(name), MAX_DOCUMENT_BYTES).map_err(|error| self.unread(name, error))?;
        self.to.write(name, &bytes)
    }

    /// The length of a file that got a second name; `None` where the disk refuses that.
    fn link(&self, name: &str, to: &str) -> Result<Option<u64>, ImportError> {
        // Where links lead: a second name of a link would lead nowhere.
        let from = fs::canonicalize(self.from.join(name)).map_err(|source| self.unread(name, source))?;
        let to = self.to.path().join(to);
        let failed = |source| ImportError::Write { path: to.clone(), source };
        match fs::hard_link(&from, &to) {
            Ok(()) => {}
            Err(error) if is_refusal(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        let linked = fs::symlink_metadata(&to).map_err(failed)?;
        if linked.is_file() {
            return Ok(Some(linked.len()));
        }
        Err(self.unread(name, io::Error::new(io::ErrorKind::InvalidInput, "is no regular file any more")))
    }

    fn copy(&mut self, name: &str, to: &str) -> Result<(), ImportError> {
        let to = self.to.path().join(to);
        let failed = |source| ImportError::Write { path: to.clone(), source };
        let (from, length) = bounded::open(&self.from.join(name)).map_err(|source| self.unread(name, source))?;
        // No more than there was room for.
        let mut from = from.take(length);
        let mut file = File::create_new(&to).map_err(failed)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let bytes = from.read(&mut chunk).map_err(|source| self.unread(name, source))?;
            if bytes == 0 {
                break;
            }
            file.write_all(&chunk[..bytes]).map_err(failed)?;
            self.count(bytes as u64)?;
        }
        file.sync_all().map_err(failed)
    }

    fn count(&mut self, bytes: u64) -> Result<(), ImportError> {
        self.done += bytes;
        match (self.progress)(Progress { done_bytes: self.done, total_bytes: self.total }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ImportError::Cancelled { path: self.from.to_path_buf() }),
        }
    }

    fn unread(&self, name: &str, source: io::Error) -> ImportError {
        ImportError::Read { path: self.from.join(name), source }
    }
}

/// Whether a disk has no second names, none more for this file, or none for us.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}
