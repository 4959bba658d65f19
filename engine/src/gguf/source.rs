//! Reads the numbers and strings of a header one after the other, and never past its end.

use std::fmt::Write;
use std::io::{self, Read};

use super::GgufError;

/// Most bytes of a header that are read. A vocabulary of 260 thousand tokens with its merges takes 20 MB.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// A reader that knows where it is and what it reads.
pub(super) struct Source<R> {
    from: R,
    position: u64,
    file_bytes: u64,
    at: String,
}

impl<R: Read> Source<R> {
    pub(super) fn new(from: R, file_bytes: u64) -> Self {
        Self { from, position: 0, file_bytes, at: String::new() }
    }

    /// Names what is read next, for errors.
    pub(super) fn at(&mut self, what: &str) {
        self.at.clear();
        self.at.push_str(what);
    }

    /// Adds to what is being read.
    pub(super) fn within(&mut self, what: &str) {
        write!(self.at, " ({what})").expect("writing to a string cannot fail");
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// An error about what is being read.
    pub(super) fn damaged(&self, what: impl std::fmt::Display) -> GgufError {
        GgufError::Damaged(format!("{} {what}", self.at))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.claim(N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A string of at most `limit` bytes.
    pub(super) fn text(&mut self, limit: u64) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > limit {
            return Err(self.damaged(format_args!("has a string of {length} bytes, more than {limit}")));
        }
        let bytes = self.bytes(length)?;
        String::from_utf8(bytes).map_err(|_| self.damaged("has a string that is not UTF-8"))
    }

    /// The next bytes.
    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, GgufError> {
        self.claim(count)?;
        let mut bytes = vec![0; count as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), GgufError> {
        self.claim(count)?;
        if io::copy(&mut self.from.by_ref().take(count), &mut io::sink())? < count {
            return Err(self.damaged("ends early: the file became shorter while it was read"));
        }
        Ok(())
    }

    /// Passes over a string.
    pub(super) fn skip_text(&mut self) -> Result<(), GgufError> {
        let length = self.u64()?;
        self.skip(length)
    }

    /// A number of things that take at least `least` bytes each, all of which fit in what is left.
    pub(super) fn count(&mut self, least: u64) -> Result<u64, GgufError> {
        let count = self.u64()?;
        let left = self.file_bytes.min(MAX_HEADER_BYTES) - self.position;
        if count.checked_mul(least).is_none_or(|bytes| bytes > left) {
            return Err(self.damaged(format_args!("claims {count} entries, more than {left} bytes can hold")));
        }
        Ok(count)
    }

    /// Moves the position ahead, if so many bytes are left.
    fn claim(&mut self, count: u64) -> Result<(), GgufError> {
        let end = self.position.checked_add(count).filter(|end| *end <= self.file_bytes);
        let Some(end) = end else {
            return Err(self.damaged(format_args!(
                "needs {count} bytes at {}, but the file has {}: it is cut short, get it again",
                self.position, self.file_bytes
            )));
        };
        if end > MAX_HEADER_BYTES {
            return Err(self.damaged(format_args!("lies past the {MAX_HEADER_BYTES} bytes of header that are read")));
        }
        self.position = end;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("ends early: the file became shorter while it was read"),
            _ => error.into(),
        })
    }
}
