//! The log in the home: `logs/talkied.log`, and behind it `talkied.log.1`, the younger one, to `talkied.log.4`.
//!
//! One thread writes. Whoever logs hands it a line and never waits: a line for which there is no room, or that the disk
//! does not take, is lost and counted, and the count is the first thing written once the disk takes something again.
//! No crate is used: those that rotate by size bring two libraries of time, compression and threads of their own for
//! what is forty lines here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How long a file may become, in bytes, and how many there are.
const LONGEST: u64 = 8 << 20;
const FILES: u32 = 5;

/// Lines that may wait for the disk.
const WAITING: usize = 4096;

/// How long the end of the daemon waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The way to the thread that writes, once there is one. Set once.
static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();

/// Lines for which the queue had no room.
static CROWDED: AtomicU64 = AtomicU64::new(0);

enum Message {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// Where the log of a home is.
pub fn path(home: &Path) -> PathBuf {
    home.join("logs").join("talkied.log")
}

/// The log is written as long as the process lives; dropping this waits a moment for what was said last.
#[derive(Debug)]
pub struct Kept(());

impl Drop for Kept {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if QUEUE.get().is_some_and(|queue| queue.try_send(Message::Flush(done)).is_ok()) {
            // A disk that takes nothing has had its time.
            let _ = written.recv_timeout(LAST_LINES);
        }
    }
}

/// Begins to write the log of this home.
pub fn keep(home: &Path) -> io::Result<Kept> {
    let mut log = Rotated::new(path(home), LONGEST, FILES);
    log.open()?;
    let (queue, lines) = sync_channel(WAITING);
    std::thread::Builder::new().name("log".into()).spawn(move || write(&mut log, &lines))?;
    // A process has one log; a second one would have nobody to write to it.
    let _ = QUEUE.set(queue);
    Ok(Kept(()))
}

/// Whether there is such a log.
pub fn is_kept() -> bool {
    QUEUE.get().is_some()
}

fn write(log: &mut Rotated, lines: &Receiver<Message>) {
    for message in lines {
        match message {
            Message::Line(line) => {
                log.lost += CROWDED.swap(0, Ordering::Relaxed);
                log.write(&line);
            }
            // Whoever asked may have given up.
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// What tracing writes to: a whole line at once.
#[derive(Debug)]
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(queue) = QUEUE.get()
            && queue.try_send(Message::Line(line.to_vec())).is_err()
        {
            CROWDED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file and those before it.
#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    longest: u64,
    files: u32,
    /// Absent while it cannot be opened.
    file: Option<File>,
    length: u64,
    /// Lines that were not written since the last one that was.
    lost: u64,
}

impl Rotated {
    fn new(path: PathBuf, longest: u64, files: u32) -> Self {
        Self { path, longest, files, file: None, length: 0, lost: 0 }
    }

    fn write(&mut self, line: &[u8]) {
        let written = self.ready(line.len() as u64).and_then(|()| self.append(line));
        if written.is_err() {
            self.lost += 1;
            self.file = None;
        }
    }

    /// Sees to it that there is a file with room: another program may have removed it, or it is long enough.
    fn ready(&mut self, bytes: u64) -> io::Result<()> {
        if !self.is_in_place() {
            self.open()?;
        }
        if self.length > 0 && self.length + bytes > self.longest {
            self.rotate()?;
        }
        if self.lost > 0 {
            let words = format!("({} lines of this log are lost: there was no room for them)\n", self.lost);
            self.append(words.as_bytes())?;
            self.lost = 0;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::symlink_metadata(&self.path).ok();
        let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        matches!((ours, there), (Some(ours), Some(there)) if same(&ours, &there))
    }

    fn open(&mut self) -> io::Result<()> {
        self.file = None;
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        let found = file.metadata()?;
        if found.mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        self.length = found.len();
        self.file = Some(file);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.files.saturating_sub(1)).rev() {
            // There are fewer in a young home.
            let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        fs::rename(&self.path, self.numbered(1))?;
        self.open()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
