//! Cuts what a socket delivers into lines.
//!
//! Pure: `ndjson` reads into [`Lines::space`] and takes lines out. Memory grows with the longest line only, and is
//! given back after it.

use bytes::{Buf, BytesMut};

/// Room for one read: what a client writes in one go arrives in one go.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes received and not yet taken.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// No newline lies before this place.
    searched: usize,
    max_bytes: usize,
    /// The buffer has grown for a long line.
    grown: bool,
    ended: bool,
}

/// A line is longer than it may be; nothing behind it can be found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, max_bytes, grown: false, ended: false }
    }

    /// Where the next bytes go; there is always room for some.
    pub(super) fn space(&mut self) -> &mut BytesMut {
        if self.buffer.len() > CHUNK_BYTES {
            self.grown = true;
        } else if self.grown && self.buffer.is_empty() {
            self.clear();
        }
        if self.buffer.capacity() - self.buffer.len() < CHUNK_BYTES / 4 {
            self.buffer.reserve(CHUNK_BYTES);
        }
        &mut self.buffer
    }

    /// The next line without its newline, never blank; `None` until more has arrived. After [`Lines::end`] the rest
    /// counts as a line.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, TooLong> {
        if self.searched == 0 {
            let blank = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.buffer.advance(blank);
        }
        let newline = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let length = newline.map_or(self.buffer.len(), |place| self.searched + place);
        if length > self.max_bytes {
            return Err(TooLong);
        }
        if newline.is_none() && (!self.ended || length == 0) {
            self.searched = length;
            return Ok(None);
        }
        let line = self.buffer.split_to(length);
        self.searched = 0;
        Ok(Some(line))
    }

    /// The first bytes, before any line was taken.
    pub(super) fn received(&self) -> &[u8] {
        &self.buffer
    }

    /// Bytes of a line whose newline has not arrived, once [`Lines::next`] has said `None`.
    pub(super) fn unfinished(&self) -> usize {
        self.searched
    }

    /// Nothing more arrives.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Forgets what was not taken.
    pub(super) fn clear(&mut self) {
        self.buffer = BytesMut::new();
        self.searched = 0;
        self.grown = false;
    }

    /// Whether everything was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Everything, as it arrived.
    pub(super) fn into_received(self) -> BytesMut {
        self.buffer
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
