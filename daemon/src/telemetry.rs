//! What the daemon tells about itself: its log, and its own memory.
//!
//! The log goes to standard error and, from [`keep_log`] on, to a file ([`file`](mod@file)). Prompts and answers are
//! never logged, at any level.

mod file;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Level, Metadata};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload::{self, Handle};

/// Sets what is logged: `error`, `warn`, `info`, `debug`, or per module as `tracing` has it.
pub const LOG_VARIABLE: &str = "TALKIE_LOG";

/// The crates whose `debug` and `trace` may be asked for: the project's own.
const OWN: &[&str] = &["talkied", "cloud", "engine", "protocol"];

/// Whether standard error is a file that needs no second copy of the log.
static IS_DOUBLE: AtomicBool = AtomicBool::new(false);

pub use file::{Kept, path as log_path};

/// What is logged, set once by [`start_log`]; the log is the process's own, and so is this.
static FILTER: OnceLock<Handle<EnvFilter, Registry>> = OnceLock::new();

/// Logs to standard error from here on, `info` and above until [`set_filter`] says otherwise.
pub fn start_log() {
    let (filter, handle) = reload::Layer::new(EnvFilter::default().add_directive(Level::INFO.into()));
    // A second log is refused below.
    let _ = FILTER.set(handle);
    let ansi = std::io::stderr().is_terminal();
    // Whoever cannot be told is not told that either: by default that ends in a panic.
    let log = tracing_subscriber::fmt::layer().with_writer(|| Stderr).with_ansi(ansi).log_internal_errors(false);
    let kept = tracing_subscriber::fmt::layer().with_writer(|| file::Lines).with_ansi(false).log_internal_errors(false);
    let log = log.and_then(kept);
    tracing_subscriber::registry().with(log.with_filter(filter.and(filter_fn(may_be_told)))).init();
}

/// Logs what a filter of the configuration says from here on.
pub fn set_filter(filter: &str) {
    let Some(handle) = FILTER.get() else { return };
    let filter = EnvFilter::builder().with_default_directive(Level::INFO.into()).parse_lossy(filter);
    if let Err(error) = handle.reload(filter) {
        tracing::warn!(%error, "what is logged could not be changed");
    }
}

/// Writes the log of this home as well, as long as the disk takes it; what it does not take is lost, and nobody waits.
pub fn keep_log(home: &Path) -> Option<Kept> {
    let kept = file::keep(home);
    if let Err(error) = &kept {
        tracing::warn!(%error, path = %log_path(home).display(), "the log cannot be written there");
    }
    kept.ok()
}

/// Says no more on standard error where that is a file, as for a daemon started on demand: the log has it, and a file
/// without bound would grow. A terminal, a pipe and the journal go on.
pub fn leave_file() {
    let is_file = rustix::fs::fstat(io::stderr())
        .is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile);
    IS_DOUBLE.store(is_file && file::is_kept(), Ordering::Relaxed);
}

/// Says on standard error again what is said from here on: the last words of the daemon.
pub fn return_to_stderr() {
    IS_DOUBLE.store(false, Ordering::Relaxed);
}

/// Standard error, unless the file has it.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if IS_DOUBLE.load(Ordering::Relaxed) { Ok(bytes.len()) } else { io::stderr().write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Libraries tell what they carry, whole, at their finer levels: a server its requests, with prompts and keys in them.
fn may_be_told(metadata: &Metadata) -> bool {
    let of = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || OWN.contains(&of)
}

/// Bytes of physical memory that belong to this process; `None` where the system is not asked.
pub fn memory_bytes() -> Option<u64> {
    // Linux tells pages in the second field of statm; macOS needs a Mach call, which comes with memory pressure.
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
