//! How many files this process may have open.
//!
//! macOS starts programs with 256, fewer than the connections that are let in by default.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as are asked for where the system allows; macOS refuses more than 10 240.
const WANTED: u64 = 8192;

/// Raises the limit of open files and tells it.
pub(super) fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    let current = limit.current.unwrap_or(u64::MAX);
    let raised = if current < wanted {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
        raised.map_or(current, |()| wanted)
    } else {
        current
    };
    usize::try_from(raised).unwrap_or(usize::MAX)
}
