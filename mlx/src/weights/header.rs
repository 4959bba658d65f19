//! The header of a safetensors file: eight bytes of length, then JSON with the type, shape and place of each tensor.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::Metadata;

/// Longest header that any reader of the format accepts.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The length of the file at `path`, or what is wrong with it: every tensor must lie inside the file, without gaps.
pub fn check(path: &Path) -> Result<u64, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| truncated(bytes, 8))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(format!("a header of {length} bytes cannot be right; fetch the file again"));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(|_| truncated(bytes, 8 + length))?;
    // Reading the header also checks that each tensor's size is that of its shape, and that tensors follow each other.
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| format!("damaged header: {error}"))?;
    let end = 8 + length + header.data_len() as u64;
    match bytes {
        bytes if bytes < end => Err(truncated(bytes, end)),
        bytes if bytes > end => Err(format!("{bytes} bytes, but its tensors end after {end}; fetch the file again")),
        _ => Ok(bytes),
    }
}

fn truncated(bytes: u64, end: u64) -> String {
    format!("truncated after {bytes} of {end} bytes; fetch the file again")
}
