//! `talkied.json`: what a model's folder should hold, written last by whoever made the folder.
//!
//! ```json
//! {"format": 1, "id": "org/name", "revision": "607a30…", "source": "https://huggingface.co/org/name",
//!  "created": "2026-11-23T08:00:00Z", "version": "0.1.0",
//!  "files": [{"path": "model.safetensors", "size": 25, "sha256": "ab12…"}, {"path": "config.json", "size": 7, "git_sha1": "cd34…"}]}
//! ```
//!
//! A folder without one is a model too, of which less is known. A hash is what the hub has of a file: SHA-256 of large
//! files, of others that of git's blob, SHA-1 over `blob`, a space, the length, a zero byte, and the bytes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use protocol::ModelId;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::bounded;

/// Name of the manifest in a model's folder.
pub const MANIFEST: &str = "talkied.json";

/// Longest manifest that is read.
const MAX_BYTES: u64 = 4 << 20;

/// Bytes that are hashed at a time.
const PIECE: usize = 1 << 20;

/// The number of the format above.
const FORMAT: u32 = 1;

/// What a model's folder should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The model.
    pub id: ModelId,
    /// The commit on the hub, for models from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Where it is from: an address, or the path that was imported.
    pub source: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Of the daemon that made it.
    pub version: String,
    /// Every file but this one.
    pub files: Vec<FileFact>,
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// Its name in the folder.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// Its hash.
    #[serde(flatten)]
    pub hash: Hash,
}

/// The hash of a file, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// SHA-256 of its bytes.
    Sha256(String),
    /// SHA-1 of it as a blob of git.
    GitSha1(String),
}

/// A hash in the making.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// For [`Hash::Sha256`].
    Sha256(Sha256),
    /// For [`Hash::GitSha1`].
    GitSha1(Sha1),
}

impl Manifest {
    /// A manifest of now.
    pub fn new(id: ModelId, revision: Option<String>, source: String, files: Vec<FileFact>) -> Self {
        let created = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Self { format: FORMAT, id, revision, source, created, version: env!("CARGO_PKG_VERSION").into(), files }
    }

    /// The manifest of a folder, if it has one that can be read.
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(MANIFEST);
        let bytes = bounded::read(&path, MAX_BYTES).ok()?;
        let read: Self = serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "is no manifest"))
            .ok()?;
        (read.format == FORMAT).then_some(read)
    }

    /// Writes it into a folder whose files are all there and on the disk, and makes that last.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let grown = folder.join(format!(".{MANIFEST}"));
        let mut file = File::create(&grown)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&grown, folder.join(MANIFEST))?;
        File::open(folder)?.sync_all()
    }

    /// The first file that is not there or of another size, in words.
    pub(super) fn lacks(&self, folder: &Path) -> Option<String> {
        self.files.iter().find_map(|file| match fs::metadata(folder.join(&file.path)) {
            Err(_) => Some(format!("{} is missing: download the model again", file.path)),
            Ok(found) if found.len() != file.size => {
                let (path, size, found) = (&file.path, file.size, found.len());
                Some(format!("{path} has {found} bytes where its manifest says {size}: download the model again"))
            }
            Ok(_) => None,
        })
    }
}

impl Hash {
    /// One to compare with this one, of a file of so many bytes.
    pub fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::sha256(),
            Self::GitSha1(_) => Hasher::git_sha1(size),
        }
    }
}

impl Hasher {
    /// Of a large file.
    pub fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    /// Of a blob of so many bytes.
    pub fn git_sha1(size: u64) -> Self {
        Self::GitSha1(Sha1::new_with_prefix(format!("blob {size}\0")))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitSha1(hasher) => hasher.update(bytes),
        }
    }

    /// The hash of all that was taken.
    pub fn finish(self) -> Hash {
        match self {
            Self::Sha256(hasher) => Hash::Sha256(hex(&hasher.finalize())),
            Self::GitSha1(hasher) => Hash::GitSha1(hex(&hasher.finalize())),
        }
    }

    /// Takes all of a file; `wanted` is asked now and then and may end it.
    pub fn take(&mut self, file: &mut impl Read, mut wanted: impl FnMut() -> bool) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(()),
                bytes => self.update(&piece[..bytes]),
            }
            if !wanted() {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "nobody waits for it any more"));
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes everything");
        text
    })
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
