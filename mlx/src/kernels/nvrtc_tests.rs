//! Where the compiler is not, that is said. What it compiles is tested with the kernels, on a GPU.

#[cfg(target_os = "linux")]
use libloading::os::unix::{RTLD_GLOBAL, RTLD_NOW};

use super::*;

#[cfg(target_os = "linux")]
#[path = "../../tests/real/given.rs"]
#[expect(dead_code, reason = "a part of it is needed")]
mod given;

/// The compiler, where it is looked for: among all that the process has loaded. What it needs lies beside it. NVIDIA has none
/// for macOS.
#[cfg(target_os = "linux")]
pub fn load() -> [Library; 2] {
    let compiler = given::given_or_made("TALKIE_TEST_NVRTC", &["nvrtc"]);
    ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"].map(|name| {
        let path = compiler.with_file_name(name);
        // SAFETY: nothing runs when it is loaded but what NVIDIA's library sets up for itself.
        unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }.unwrap()
    })
}

#[test]
fn a_process_without_the_compiler_says_so() {
    match compile("extern \"C\" __global__ void nothing() {}", [9, 0]) {
        Ok(code) => assert!(code.starts_with(b"\x7fELF")),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}"),
    }
}
