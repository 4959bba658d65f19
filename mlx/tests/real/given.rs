//! What tests are given by `cargo xtask test`, or get from the xtask themselves: a model's file, and a Python with mlx-lm
//! that answers a script's questions.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Python with mlx-lm.
pub fn python() -> PathBuf {
    given_or_made("TALKIE_TEST_REFERENCE_PYTHON", &["reference"])
}

/// What `cargo xtask test` found, else what the xtask prints now: a missing thing fails a test, it skips none.
pub fn given_or_made(variable: &str, task: &[&str]) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let output = Command::new(env!("CARGO")).arg("xtask").args(task).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "cargo xtask {task:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// What `script` writes when it reads `request`.
pub fn ask(python: &Path, script: &str, request: &Value) -> String {
    eprintln!("asking the reference; it is kept for the next time");
    let mut reference = Command::new(python);
    reference.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reference = reference.spawn().expect("the reference's Python starts");
    reference.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = reference.wait_with_output().unwrap();
    assert!(output.status.success(), "the reference fails; what it said stands above");
    String::from_utf8(output.stdout).unwrap()
}
