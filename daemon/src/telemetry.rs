//! What the daemon tells about itself: its log, and its own memory.
//!
//! Prompts and answers are never logged, at any level.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::{Level, Metadata};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload::{self, Handle};

/// Sets what is logged: `error`, `warn`, `info`, `debug`, or per module as `tracing` has it.
pub const LOG_VARIABLE: &str = "TALKIE_LOG";

/// The crates whose `debug` and `trace` may be asked for: the project's own.
const OWN: &[&str] = &["talkied", "cloud", "engine", "protocol"];

/// What is logged, set once by [`start_log`]; the log is the process's own, and so is this.
static FILTER: OnceLock<Handle<EnvFilter, Registry>> = OnceLock::new();

/// Logs to standard error from here on, `info` and above until [`set_filter`] says otherwise.
pub fn start_log() {
    let (filter, handle) = reload::Layer::new(EnvFilter::default().add_directive(Level::INFO.into()));
    // A second log is refused below.
    let _ = FILTER.set(handle);
    let ansi = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
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
