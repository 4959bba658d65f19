//! Where the compiler is not, that is said. What it compiles is tested with the kernels, on a GPU.

use super::*;

#[test]
fn a_process_without_the_compiler_says_so() {
    match compile("extern \"C\" __global__ void nothing() {}", [9, 0]) {
        Ok(code) => assert!(code.starts_with(b"\x7fELF")),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}"),
    }
}
