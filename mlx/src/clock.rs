//! The one symbol of macOS that `mlx-rs` needs everywhere.
//!
//! `mlx-rs` seeds its default random state with it. No draw of ours uses that state: each sequence has its own key.

/// Nanoseconds of a clock that only goes forward.
#[cfg(not(target_os = "macos"))]
// SAFETY: no library off macOS has a symbol of this name.
#[unsafe(no_mangle)]
extern "C" fn mach_approximate_time() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
