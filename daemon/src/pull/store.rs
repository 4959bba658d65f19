//! A download on the disk: `ROOT/.pulls/FOLDER/`, on the file system of the models, so that the last step is a rename.
//!
//! | | |
//! |---|---|
//! | `pull.json` | what is downloaded: [`Job`], written whole and renamed |
//! | `model/` | the files, which grow in place, with holes where bytes are missing |
//! | `progress/` | for each file, which of its bytes are there |
//! | `lock` | held by the daemon that works on it |
//!
//! A progress file is a header of 40 bytes, and for each segment of 32 MiB two numbers of 8 bytes, little endian: bytes
//! written, and bytes known to have left the memory of the machine. Data are written before the number that tells of
//! them, so a killed daemon loses nothing that it wrote. After the machine itself went down, told by another boot id,
//! only the second number counts. Whatever is wrong here at worst costs a download of the file again: nothing is
//! installed before its hash was found to be right.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use protocol::ModelId;
use serde::{Deserialize, Serialize};

use super::error::PullError;
use super::plan::POOLING;
use crate::library::manifest::FileFact;

/// Bytes of a segment.
pub const SEGMENT: u64 = 32 << 20;

const MAGIC: [u8; 8] = *b"tkpull\0\x01";
const HEADER: u64 = 40;
const FORMAT: u32 = 1;

/// What is downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    format: u32,
    /// The repository.
    pub model: ModelId,
    /// Branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit, and the files; absent before the hub has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What it consists of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileFact>,
    /// Whether somebody stopped it.
    #[serde(default)]
    pub paused: bool,
}

/// The folder of a download, which this process alone works on.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    _lock: File,
}

/// One file with what is there of it.
#[derive(Debug)]
pub struct Part {
    data: File,
    progress: File,
    size: u64,
}

/// What was found of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Bytes of each segment that are there, from its beginning.
    pub written: Vec<u64>,
    /// Whether its hash was found to be right.
    pub verified: bool,
}

impl Job {
    /// One of which nothing is known yet.
    pub fn new(model: ModelId, revision: String) -> Self {
        Self { format: FORMAT, model, revision, commit: None, files: Vec::new(), paused: false }
    }

    /// The downloads below a root, whoever works on them.
    pub fn all(pulls: &Path) -> Vec<Self> {
        let folders = fs::read_dir(pulls).into_iter().flatten().flatten();
        let mut jobs: Vec<Self> = folders.filter_map(|folder| Self::read(&folder.path())).collect();
        jobs.sort_by(|a, b| a.model.cmp(&b.model));
        jobs
    }

    fn read(folder: &Path) -> Option<Self> {
        let bytes = fs::read(folder.join("pull.json")).ok()?;
        let job: Self = serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "is no download"))
            .ok()?;
        let is_sound = job.format == FORMAT
            && job.model.is_valid()
            && folder.file_name().is_some_and(|name| *name == *job.model.folder())
            && job.files.iter().all(|file| stays(&file.path));
        is_sound.then_some(job)
    }
}

impl Store {
    /// Takes or makes the folder of a model's download.
    pub fn open(pulls: &Path, model: &ModelId) -> Result<Self, PullError> {
        let folder = pulls.join(model.folder());
        let made = fs::create_dir_all(folder.join("model")).and_then(|()| fs::create_dir_all(folder.join("progress")));
        made.map_err(|error| match lost_disk(&folder) {
            Some(problem) => PullError::Storage { action: "make", path: folder.clone(), problem },
            None => PullError::storage("make", &folder, &error),
        })?;
        let path = folder.join("lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(|error| PullError::storage("open", &path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(PullError::Taken { path: folder }),
            Err(TryLockError::Error(error)) => Err(PullError::storage("lock", &path, &error)),
        }
    }

    /// Where the model's files are.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model")
    }

    /// The download as it was written down last.
    pub fn job(&self) -> Option<Job> {
        Job::read(&self.folder)
    }

    /// Writes the download down.
    pub fn save(&self, job: &Job) -> Result<(), PullError> {
        let (grown, path) = (self.folder.join(".pull.json"), self.folder.join("pull.json"));
        let write = || {
            let mut file = File::create(&grown)?;
            file.write_all(&serde_json::to_vec_pretty(job)?)?;
            file.sync_all()?;
            fs::rename(&grown, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error: io::Error| PullError::storage("write", &path, &error))
    }

    /// Removes files of a download that are not in the plan any more.
    pub fn keep_only(&self, files: &[FileFact]) -> Result<(), PullError> {
        for folder in ["model", "progress"] {
            let folder = self.folder.join(folder);
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
                if is_file && !files.iter().any(|file| entry.file_name() == *file.path) {
                    let path = entry.path();
                    fs::remove_file(&path).map_err(|error| PullError::storage("remove", &path, &error))?;
                }
            }
        }
        Ok(())
    }

    /// Takes a file of an installed model as one that may be right, without its bytes being copied. Nothing happens
    /// where that cannot be, or where something is there of it.
    pub fn link(&self, fact: &FileFact, installed: &Path) {
        let (from, to) = (installed.join(&fact.path), self.model().join(&fact.path));
        let is_like = fs::metadata(&from).is_ok_and(|metadata| metadata.is_file() && metadata.len() == fact.size);
        if !is_like || to.exists() {
            return;
        }
        // The notes come first: without the file they mean nothing, the file without them would be thrown away. Should
        // something fail here, the file is fetched.
        let _ = self.part(fact).and_then(|(part, _)| part.fill()).and_then(|()| {
            let linked = fs::remove_file(&to).and_then(|()| fs::hard_link(&from, &to));
            linked.map_err(|error| PullError::storage("link", &to, &error))
        });
    }

    /// Opens a file of the plan with what is there of it.
    pub fn part(&self, fact: &FileFact) -> Result<(Part, Found), PullError> {
        let (data_path, path) = (self.model().join(&fact.path), self.folder.join("progress").join(&fact.path));
        let open = |path: &Path| {
            path.parent()
                .map_or(Ok(()), fs::create_dir_all)
                .map_err(|error| PullError::storage("make", path, &error))?;
            let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
            file.map_err(|error| PullError::storage("open", path, &error))
        };
        let mut part = Part { data: open(&data_path)?, progress: open(&path)?, size: fact.size };
        let read = part.read(&boot_id()).map_err(|error| PullError::storage("read", &path, &error))?;
        if let Some(found) = read {
            return Ok((part, found));
        }
        // What is there may be another name of an installed file, which is not to be written over.
        fs::remove_file(&data_path).map_err(|error| PullError::storage("remove", &data_path, &error))?;
        part.data = open(&data_path)?;
        let found = part.begin().map_err(|error| PullError::storage("write", &path, &error))?;
        Ok((part, found))
    }

    /// Throws away what is there of a file. It may be another name of an installed one, so it is not written over.
    pub fn drop_part(&self, fact: &FileFact) -> Result<Part, PullError> {
        for folder in ["progress", "model"] {
            let path = self.folder.join(folder).join(&fact.path);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(PullError::storage("remove", &path, &error));
                }
                _ => {}
            }
        }
        self.part(fact).map(|(part, _)| part)
    }

    /// Removes all of it.
    pub fn remove(self) -> Result<(), PullError> {
        fs::remove_dir_all(&self.folder).map_err(|error| PullError::storage("remove", &self.folder, &error))
    }
}

impl Part {
    /// Puts bytes where they belong and notes that the segment has `written` now.
    pub fn write(&self, segment: usize, written: u64, bytes: &[u8]) -> io::Result<u64> {
        let written_now = written + bytes.len() as u64;
        self.data.write_all_at(bytes, segment as u64 * SEGMENT + written)?;
        self.note(segment, 0, written_now)?;
        Ok(written_now)
    }

    /// Reads what is there at a place.
    pub fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.data.read_exact_at(bytes, at)
    }

    /// Has the bytes that are written leave the memory, and notes it.
    pub fn sync(&self, written: &[u64]) -> io::Result<()> {
        self.data.sync_data()?;
        for (segment, written) in written.iter().enumerate() {
            self.note(segment, 8, *written)?;
        }
        self.progress.sync_data()
    }

    /// Notes for good that the hash is right.
    pub fn verified(&self) -> io::Result<()> {
        self.data.sync_all()?;
        self.progress.write_all_at(&1_u64.to_le_bytes(), 32)?;
        self.progress.sync_data()
    }

    fn note(&self, segment: usize, which: u64, bytes: u64) -> io::Result<()> {
        self.progress.write_all_at(&bytes.to_le_bytes(), HEADER + segment as u64 * 16 + which)
    }

    fn fill(&self) -> Result<(), PullError> {
        let lengths: Vec<u64> = lengths(self.size).collect();
        let fill = || {
            lengths.iter().enumerate().try_for_each(|(segment, length)| self.note(segment, 0, *length))?;
            self.sync(&lengths)
        };
        fill().map_err(|error| PullError::storage("write", Path::new("progress"), &error))
    }

    /// A file of which nothing is there.
    fn begin(&self) -> io::Result<Found> {
        let count = lengths(self.size).count();
        let mut bytes = vec![0; HEADER as usize + count * 16];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..32].copy_from_slice(&boot_id());
        self.progress.set_len(0)?;
        self.progress.write_all_at(&bytes, 0)?;
        Ok(Found { written: vec![0; count], verified: false })
    }

    /// What is there; `None` where the notes are not of this file, or the file is not as long as they say.
    fn read(&self, boot: &[u8; 16]) -> io::Result<Option<Found>> {
        let lengths: Vec<u64> = lengths(self.size).collect();
        let mut bytes = vec![0; HEADER as usize + lengths.len() * 16];
        if self.progress.metadata()?.len() != bytes.len() as u64 {
            return Ok(None);
        }
        self.progress.read_exact_at(&mut bytes, 0)?;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..8] != MAGIC || number(8) != self.size {
            return Ok(None);
        }
        let same_boot = bytes[16..32] == *boot;
        let mut written = Vec::new();
        for (segment, length) in lengths.iter().enumerate() {
            let at = HEADER as usize + segment * 16;
            let bytes = if same_boot { number(at) } else { number(at + 8) };
            if bytes > *length {
                return Ok(None);
            }
            written.push(bytes);
        }
        // The file grows as bytes come, so that its length says how far it could have been written.
        let last = written.iter().rposition(|bytes| *bytes > 0);
        let needed = last.map_or(0, |segment| segment as u64 * SEGMENT + written[segment]);
        let there = self.data.metadata()?.len();
        if there < needed || there > self.size {
            return Ok(None);
        }
        if !same_boot {
            written.iter().enumerate().try_for_each(|(segment, bytes)| self.note(segment, 0, *bytes))?;
            self.progress.write_all_at(boot, 16)?;
        }
        let verified = number(32) == 1 && written == lengths;
        Ok(Some(Found { written, verified }))
    }
}

/// Whether a file lies where the folder's own files do.
fn stays(path: &str) -> bool {
    path == POOLING || !path.is_empty() && !path.starts_with('.') && !path.contains(['/', '\0'])
}

/// Lengths of the segments of a file; an empty file has none.
pub fn lengths(size: u64) -> impl Iterator<Item = u64> {
    (0..size.div_ceil(SEGMENT)).map(move |segment| SEGMENT.min(size - segment * SEGMENT))
}

/// Why a folder cannot be made where one above it is a link to a disk that is not there. The system would say of it that
/// the file exists.
fn lost_disk(folder: &Path) -> Option<String> {
    let is_lost = |path: &&Path| fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) && !path.exists();
    let link = folder.ancestors().find(is_lost)?;
    let target = fs::read_link(link).unwrap_or_default();
    Some(format!("{} is a link to {}, which is not there: is its disk mounted?", link.display(), target.display()))
}

/// What is another after each start of the machine.
fn boot_id() -> [u8; 16] {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(crate::boot::id().as_bytes());
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
