//! How much memory this machine has for models, whether it runs short, and how the daemon gives back its own.
//!
//! Asked at each reading of the catalogue and of the configuration: limits of control groups change while the daemon runs.

mod allocator;
mod pressure;

#[cfg(not(target_os = "macos"))]
use std::path::Path;

pub use allocator::{give_back, share_one_heap};
pub use pressure::{Level, Source, watch};

/// Bytes of this machine that models may take; 0 where nobody says how much there is.
pub fn for_models() -> u64 {
    share(total_bytes())
}

/// Bytes of this machine, or of the control groups that the daemon runs in; 0 where nobody says how much there is.
pub fn total_bytes() -> u64 {
    installed().unwrap_or(0)
}

/// The part of a machine's memory that Metal recommends for its working set: two thirds of up to 36 GB, three quarters
/// of more. Apple documents no rule for `recommendedMaxWorkingSetSize`; of what owners of Macs measured this is the
/// least: 10.67 GiB of 16 with macOS 15 (exo, pull request 1672), but 11.84 of 16 (llmfit, 754) and 107.5 of 128 (ds4,
/// 893) in 2026. Elsewhere as good a rule as any: a GPU's own memory is known to its engine alone.
pub fn share(installed: u64) -> u64 {
    if installed <= 36 << 30 { installed / 3 * 2 } else { installed / 4 * 3 }
}

/// What is there, or what control groups leave of it.
#[cfg(not(target_os = "macos"))]
fn installed() -> Option<u64> {
    let total = total(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(limit(Path::new("/sys/fs/cgroup"), &groups).map_or(total, |limit| limit.min(total)))
}

/// `MemTotal` of proc(5).
#[cfg(not(target_os = "macos"))]
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The least `memory.max` of the group and of those around it, as cgroups(7) describes version 2. In a container the
/// top of the tree is the container's own group.
#[cfg(not(target_os = "macos"))]
fn limit(top: &Path, groups: &str) -> Option<u64> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = top.join(group);
    let around = own.ancestors().take_while(|folder| folder.starts_with(top));
    let limits = around.filter_map(|folder| std::fs::read_to_string(folder.join("memory.max")).ok());
    // A group without a limit says `max`.
    limits.filter_map(|limit| limit.trim().parse().ok()).min()
}

/// `hw.memsize` of sysctl(3).
#[cfg(target_os = "macos")]
fn installed() -> Option<u64> {
    crate::sysctl::text("hw.memsize")?.parse().ok()
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
