//! Which bytes of a download are there, who fetches which, and how far the hashes are. Decides, and waits for nothing.

use std::sync::Arc;

use protocol::PullFile;

use super::error::PullError;
use super::store::{Found, Part, SEGMENT, lengths};
use crate::library::manifest::FileFact;

/// How often a file may come with wrong bytes.
const MAX_DAMAGES: u32 = 3;

/// Everything of one download.
#[derive(Debug)]
pub struct Board {
    files: Vec<Entry>,
    /// Files from this number on are not fetched yet.
    open: usize,
    /// Bytes fetched again.
    refetched: u64,
    /// The most that was ever there.
    peak: u64,
}

#[derive(Debug)]
struct Entry {
    fact: FileFact,
    part: Arc<Part>,
    written: Vec<u64>,
    taken: Vec<bool>,
    /// Its server knows no ranges: it comes from its first byte on, in one piece.
    in_one_piece: bool,
    /// Bytes from the beginning that are in the hash.
    hashed: u64,
    verified: bool,
    damages: u32,
}

/// What is told of a download.
#[derive(Debug, Default)]
pub struct Told {
    /// The most that was ever there; never falls.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that came again.
    pub refetched_bytes: u64,
    /// The files, largest first.
    pub files: Vec<PullFile>,
}

/// Bytes that one connection fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which file.
    pub file: usize,
    /// Its name.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// The first byte that is missing.
    pub from: u64,
    /// The first byte that is not claimed.
    pub to: u64,
}

/// Bytes that are there and in no hash yet.
#[derive(Debug)]
pub struct Unhashed {
    /// Of which file.
    pub file: usize,
    /// What is known of it.
    pub fact: FileFact,
    /// Where they are.
    pub part: Arc<Part>,
    /// The first of them.
    pub from: u64,
    /// The first that is not there yet.
    pub to: u64,
}

impl Board {
    /// The files of a plan with what is there of each; none is fetched before [`Board::open`].
    pub fn new(files: Vec<(FileFact, Part, Found)>) -> Self {
        let entry = |(fact, part, found): (FileFact, Part, Found)| Entry {
            taken: vec![false; found.written.len()],
            hashed: if found.verified { fact.size } else { 0 },
            verified: found.verified,
            written: found.written,
            part: Arc::new(part),
            fact,
            in_one_piece: false,
            damages: 0,
        };
        Self { files: files.into_iter().map(entry).collect(), open: 0, refetched: 0, peak: 0 }
    }

    /// Lets the first so many files be fetched.
    pub fn open(&mut self, files: usize) {
        self.open = files.min(self.files.len());
    }

    /// Whether all that may be fetched is there and right.
    pub fn is_done(&self) -> bool {
        self.files[..self.open].iter().all(|file| file.verified)
    }

    /// Whether every byte that may be fetched is there.
    pub fn is_there(&self) -> bool {
        self.files[..self.open].iter().all(Entry::is_there)
    }

    /// The next bytes to fetch that nobody fetches.
    pub fn claim(&mut self) -> Option<Claim> {
        let open = self.open;
        self.files[..open].iter_mut().enumerate().find_map(|(number, file)| file.claim(number))
    }

    /// Gives back what a connection has not fetched.
    pub fn release(&mut self, claim: &Claim) {
        let file = &mut self.files[claim.file];
        let segments = (claim.from / SEGMENT) as usize..claim.to.div_ceil(SEGMENT) as usize;
        file.taken[segments].fill(false);
    }

    /// The server of a file knows no ranges.
    pub fn comes_in_one_piece(&mut self, file: usize) {
        self.files[file].in_one_piece = true;
    }

    /// Where the bytes at a place go: how many of them are there already, and how many fit into the segment then.
    pub fn place(&self, file: usize, at: u64) -> (Arc<Part>, usize, u64, u64) {
        let entry = &self.files[file];
        let segment = (at / SEGMENT) as usize;
        let written = entry.written[segment];
        let length = SEGMENT.min(entry.fact.size - segment as u64 * SEGMENT);
        (Arc::clone(&entry.part), segment, written, length)
    }

    /// Notes what a segment has now.
    pub fn note(&mut self, file: usize, segment: usize, written: u64) {
        self.files[file].written[segment] = written;
    }

    /// Notes bytes that came a second time.
    pub fn note_again(&mut self, bytes: u64) {
        self.refetched += bytes;
    }

    /// Bytes to be hashed next, of files that may be fetched.
    pub fn unhashed(&self) -> Option<Unhashed> {
        self.files[..self.open].iter().enumerate().find_map(|(number, file)| {
            let (from, to) = (file.hashed, file.prefix());
            let is_due = !file.verified && (to > from || file.fact.size == 0);
            is_due.then(|| Unhashed { file: number, fact: file.fact.clone(), part: Arc::clone(&file.part), from, to })
        })
    }

    /// Notes how far a hash is.
    pub fn hashed(&mut self, file: usize, to: u64) {
        self.files[file].hashed = to;
    }

    /// A hash was right.
    pub fn verified(&mut self, file: usize) {
        self.files[file].verified = true;
    }

    /// A hash was wrong: the file is fetched again into `part`, unless that was tried often enough.
    pub fn damaged(&mut self, file: usize, part: Part) -> Result<(), PullError> {
        let entry = &mut self.files[file];
        entry.damages += 1;
        if entry.damages >= MAX_DAMAGES {
            return Err(PullError::Damaged { path: entry.fact.path.clone(), times: entry.damages });
        }
        self.refetched += entry.fact.size;
        entry.part = Arc::new(part);
        entry.written.fill(0);
        entry.hashed = 0;
        Ok(())
    }

    /// Each file that is not verified, with what is written of it.
    pub fn unsynced(&self) -> Vec<(Arc<Part>, Vec<u64>)> {
        let growing = self.files.iter().filter(|file| !file.verified && file.written.iter().any(|bytes| *bytes > 0));
        growing.map(|file| (Arc::clone(&file.part), file.written.clone())).collect()
    }

    /// Bytes that are there, now.
    pub fn bytes_there(&self) -> u64 {
        self.files.iter().flat_map(|file| &file.written).sum()
    }

    /// Bytes that are not there yet.
    pub fn missing(&self) -> u64 {
        self.total() - self.bytes_there()
    }

    fn total(&self) -> u64 {
        self.files.iter().map(|file| file.fact.size).sum()
    }

    /// What is told of it.
    pub fn told(&mut self) -> Told {
        self.peak = self.peak.max(self.bytes_there());
        let mut files: Vec<PullFile> = self.files.iter().map(Entry::told).collect();
        files.sort_by(|a, b| b.total_bytes.cmp(&a.total_bytes).then_with(|| a.path.cmp(&b.path)));
        Told { done_bytes: self.peak, total_bytes: self.total(), refetched_bytes: self.refetched, files }
    }
}

impl Entry {
    fn claim(&mut self, number: usize) -> Option<Claim> {
        let of = |from, to| Claim { file: number, path: self.fact.path.clone(), size: self.fact.size, from, to };
        if self.in_one_piece {
            let is_free = !self.is_there() && !self.taken.contains(&true);
            return is_free.then(|| {
                let claim = of(0, self.fact.size);
                self.taken.fill(true);
                claim
            });
        }
        let lengths = lengths(self.fact.size);
        let mut segments = lengths.zip(&self.written).zip(&self.taken).enumerate();
        let (segment, length, written) = segments.find_map(|(segment, ((length, written), taken))| {
            (!taken && *written < length).then_some((segment as u64, length, *written))
        })?;
        let claim = of(segment * SEGMENT + written, segment * SEGMENT + length);
        self.taken[segment as usize] = true;
        Some(claim)
    }

    fn is_there(&self) -> bool {
        self.written.iter().sum::<u64>() == self.fact.size
    }

    /// Bytes from the beginning without a gap.
    fn prefix(&self) -> u64 {
        let mut prefix = 0;
        for (written, length) in self.written.iter().zip(lengths(self.fact.size)) {
            prefix += written;
            if *written < length {
                break;
            }
        }
        prefix
    }

    fn told(&self) -> PullFile {
        PullFile {
            path: self.fact.path.clone(),
            done_bytes: self.written.iter().sum(),
            total_bytes: self.fact.size,
            verified: self.verified,
        }
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
