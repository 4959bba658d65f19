//! How long a safetensors file must be, from its header alone.

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::bounded;

/// Longest header that is read; the format allows 100 million bytes, real ones have up to ten.
const MAX_HEADER_BYTES: u64 = 32 << 20;

/// What a header says of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes up to the end of the last tensor; at least that many where the header itself is cut short.
    pub expected_bytes: u64,
    /// Bytes of the file.
    pub actual_bytes: u64,
}

/// Reads a file's header; the error says in words what is wrong with it.
pub(super) fn header(path: &Path) -> Result<Header, String> {
    let unreadable = |error| format!("cannot be read ({error})");
    let (mut file, actual_bytes) = bounded::open(path).map_err(unreadable)?;
    if actual_bytes < 8 {
        return Ok(Header { expected_bytes: 8, actual_bytes });
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(unreadable)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(format!("claims a header of {length} bytes, more than the {MAX_HEADER_BYTES} that are read"));
    }
    if actual_bytes < 8 + length {
        return Ok(Header { expected_bytes: 8 + length, actual_bytes });
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes).map_err(unreadable)?;
    let End(end) = serde_json::from_slice(&bytes).map_err(|error| format!("has no valid header ({error})"))?;
    let expected_bytes = end.checked_add(8 + length).ok_or("has tensors past the end of any file")?;
    Ok(Header { expected_bytes, actual_bytes })
}

/// Where the last tensor of a header ends. Names, types and shapes are passed over without being kept.
struct End(u64);

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EndVisitor)
    }
}

struct EndVisitor;

impl<'de> Visitor<'de> for EndVisitor {
    type Value = End;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<End, A::Error> {
        let mut end = 0;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
            } else {
                end = map.next_value::<Tensor>()?.data_offsets.1.max(end);
            }
        }
        Ok(End(end))
    }
}

#[derive(serde::Deserialize)]
struct Tensor {
    data_offsets: (u64, u64),
}
