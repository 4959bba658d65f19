//! What the allocator keeps of memory that was given back to it.
//!
//! glibc makes one heap after the other for threads that allocate at the same time, up to eight for each core, and of
//! most of them it gives nothing back. A tokenizer is read on whichever thread is free, and what it took stays in that
//! thread's heap: after eight models one after the other, of 60 MB each, the daemon held 146 MB, and no model. With
//! one heap it held 75, and 4 once that was trimmed. mimalloc, which the MLX engine has for its speed, held 36 to 99
//! MB after rounds of a storm of clients that left 9 to 13 with glibc's many heaps; 2 were in use. Other C libraries,
//! and macOS, are left alone.

/// Has all threads share one heap. For the begin of the program: heaps that are there stay.
pub fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::share_one_heap();
}

/// Gives the system what is free. Whoever allocates meanwhile waits, some milliseconds where there is much.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::give_back();
}

/// Its own, of `malloc.h`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    /// `M_ARENA_MAX`.
    const MOST_HEAPS: c_int = -8;

    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
        fn malloc_trim(pad: usize) -> c_int;
    }

    pub(super) fn share_one_heap() {
        // SAFETY: both arguments are plain numbers; a parameter that is unknown is refused, and all is as it was.
        unsafe { mallopt(MOST_HEAPS, 1) };
    }

    pub(super) fn give_back() {
        // SAFETY: any thread may call it at any time; it touches nothing that is in use.
        unsafe { malloc_trim(0) };
    }
}
