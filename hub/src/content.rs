//! Bytes of files: given, or made as they are asked for.

use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Bytes that are made at a time; a made file repeats nothing below this times 2^64.
const BLOCK: u64 = 64 << 10;

/// What a file holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Given(Arc<[u8]>),
    /// So many bytes made of a seed; with a head, which stands before them.
    Made {
        /// First bytes, such as the header of a safetensors file.
        head: Arc<[u8]>,
        /// Bytes in all.
        size: u64,
        /// Others give other bytes.
        seed: u64,
    },
}

impl Content {
    /// These bytes.
    pub fn given(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Given(bytes.into().into())
    }

    /// A safetensors file of `size` bytes with one tensor of bytes that nobody has seen.
    pub fn weights(size: u64, seed: u64) -> Self {
        let header = |data: u64| {
            let text = format!(r#"{{"w":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}}}"#);
            let mut head = (text.len() as u64).to_le_bytes().to_vec();
            head.extend_from_slice(text.as_bytes());
            head
        };
        // The numbers in the header change its length by some bytes, so it is made until it fits.
        let mut data = size.saturating_sub(64);
        for _ in 0..8 {
            data = size.saturating_sub(header(data).len() as u64);
        }
        let head: Vec<u8> = header(data);
        let size = head.len() as u64 + data;
        Self::Made { head: head.into(), size, seed }
    }

    /// Its length.
    pub fn size(&self) -> u64 {
        match self {
            Self::Given(bytes) => bytes.len() as u64,
            Self::Made { size, .. } => *size,
        }
    }

    /// Fills `bytes` with what stands at a place.
    pub fn read(&self, at: u64, bytes: &mut [u8]) {
        match self {
            Self::Given(given) => bytes.copy_from_slice(&given[at as usize..at as usize + bytes.len()]),
            Self::Made { head, seed, .. } => {
                let mut place = at;
                let mut rest = bytes;
                if (place as usize) < head.len() {
                    let here = rest.len().min(head.len() - place as usize);
                    rest[..here].copy_from_slice(&head[place as usize..place as usize + here]);
                    (place, rest) = (place + here as u64, &mut rest[here..]);
                }
                made(*seed, place, rest);
            }
        }
    }

    /// SHA-256 of all of it, in hexadecimal.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        self.each(|piece| hasher.update(piece));
        hex(&hasher.finalize())
    }

    /// The hash that git has of it as a blob.
    pub fn git_sha1(&self) -> String {
        let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", self.size()));
        self.each(|piece| hasher.update(piece));
        hex(&hasher.finalize())
    }

    fn each(&self, mut take: impl FnMut(&[u8])) {
        let mut buffer = vec![0; BLOCK as usize];
        let mut at = 0;
        while at < self.size() {
            let piece = &mut buffer[..BLOCK.min(self.size() - at) as usize];
            self.read(at, piece);
            take(piece);
            at += piece.len() as u64;
        }
    }
}

/// Eight bytes at a time, each eight from their own place: splitmix64.
fn made(seed: u64, at: u64, bytes: &mut [u8]) {
    let word = |place: u64| {
        let mut z = seed.wrapping_add((place / 8).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let mut place = at;
    let mut rest = bytes;
    while !rest.is_empty() {
        let skip = (place % 8) as usize;
        let here = rest.len().min(8 - skip);
        rest[..here].copy_from_slice(&word(place)[skip..skip + here]);
        (place, rest) = (place + here as u64, &mut rest[here..]);
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"0123456789abcdef";
    let digit = |number: u8| char::from(DIGITS[usize::from(number)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
