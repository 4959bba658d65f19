//! Ctrl-C and SIGTERM, noticed instead of obeyed, so that a task can put away what it started.
//!
//! The terminal sends Ctrl-C to the programs that a task started as well; these end by themselves. A second Ctrl-C ends the
//! task at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Error, Result};

/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether the task was told to stop.
pub struct Interrupt {
    told: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes the signals over from now on.
    pub fn watch() -> Result<Self> {
        let told = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset and sets it, the second finds it set and ends all.
            flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&told))
                .and_then(|_| flag::register(signal, Arc::clone(&told)))
                .map_err(|source| Error::Io { action: "watch for Ctrl-C".into(), source })?;
        }
        Ok(Self { told })
    }

    /// Fails once the task was told to stop.
    pub fn check(&self) -> Result<()> {
        if self.told.load(Ordering::Relaxed) { Err(Error::Shown { code: Some(INTERRUPTED) }) } else { Ok(()) }
    }

    /// One that never comes.
    #[cfg(test)]
    pub fn never() -> Self {
        Self { told: Arc::default() }
    }

    /// What a signal does.
    #[cfg(test)]
    pub fn tell(&self) {
        self.told.store(true, Ordering::Relaxed);
    }
}
