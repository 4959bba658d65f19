//! Memory of a process as the system counts it.

use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::command;
use crate::error::{Error, Result};

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident, pages shared with other processes included.
    #[serde(rename = "resident_bytes")]
    pub resident: u64,
    /// Resident, shared pages divided by their users; only Linux tells.
    #[serde(rename = "proportional_bytes")]
    pub proportional: Option<u64>,
    /// Resident and of no other process; only Linux tells.
    #[serde(rename = "private_bytes")]
    pub private: Option<u64>,
}

/// Looks at a process.
pub fn of(pid: u32) -> Result<Memory> {
    if !cfg!(target_os = "linux") {
        let text = command::output(Command::new("ps").args(["-o", "rss=", "-p"]).arg(pid.to_string()))?;
        let kilobytes: u64 =
            text.trim().parse().map_err(|_| Error::Unexpected(format!("ps says {text:?} of {pid}")))?;
        return Ok(Memory { resident: kilobytes * 1024, ..Memory::default() });
    }
    let status = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&status).map_err(Error::io("read", status.as_ref()))?;
    let resident = field(&text, "VmRSS").ok_or_else(|| Error::Unexpected(format!("{status} has no VmRSS")))?;
    // Not every container shows it.
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = field(&rollup, "Private_Clean").zip(field(&rollup, "Private_Dirty"));
    Ok(Memory { resident, proportional: field(&rollup, "Pss"), private: private.map(|(clean, dirty)| clean + dirty) })
}

/// The bytes of a line such as `Pss:   123 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
