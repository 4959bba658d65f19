//! How messages are written: four bytes of length, little-endian, then postcard.
//!
//! Both sides read and write here, each on threads that may block.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest frame either side accepts: a prompt of eight million tokens.
pub const MAX_FRAME_BYTES: usize = 32 << 20;

/// One message as postcard, without its length.
fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// One message from its postcard bytes.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes one frame in one `write`.
pub fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = encode(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length as usize <= MAX_FRAME_BYTES);
    let length = length.ok_or_else(|| too_long(body.len()))?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    to.write_all(&frame)
}

/// Reads one frame; `None` at a clean end.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    read_in(&mut Vec::new(), from)
}

/// The same with memory that is used again for the next.
pub fn read_in<T: DeserializeOwned>(body: &mut Vec<u8>, from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let begun = loop {
        match from.read(&mut length) {
            // By a signal: that is no end.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if begun == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[begun..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(too_long(length));
    }
    body.clear();
    body.resize(length, 0);
    from.read_exact(body)?;
    decode(body).map(Some)
}

fn too_long(length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes exceeds {MAX_FRAME_BYTES}"))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
