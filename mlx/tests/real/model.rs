//! The model of these tests, from `cargo xtask test` or fetched here, imported by the daemon's own import.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use protocol::ModelId;
use talkied::library::{Library, import};

use crate::support::{Daemon, Start};

/// Its id in these tests.
pub const ID: &str = "test/smollm2";

/// The file that it is imported from.
pub fn gguf() -> PathBuf {
    given_or_made("TALKIE_TEST_MODEL_GGUF", "model")
}

/// Python with mlx-lm.
pub fn python() -> PathBuf {
    given_or_made("TALKIE_TEST_REFERENCE_PYTHON", "reference")
}

/// What `cargo xtask test` found, else what the xtask prints now: a missing model fails a test, it skips none.
fn given_or_made(variable: &str, task: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let output = Command::new(env!("CARGO")).args(["xtask", task]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "cargo xtask {task}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// The imported model's folder, made once for this run.
pub fn folder() -> &'static Path {
    static IMPORTED: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (folder, _) = IMPORTED.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
        fs::create_dir_all(&root).unwrap();
        // Held until this process ends: another run must not import under this one's feet.
        let lock = File::create(root.join("lock")).unwrap();
        lock.lock().unwrap();
        let library = Library { root: root.join("models") };
        if library.root.exists() {
            fs::remove_dir_all(&library.root).unwrap();
        }
        let model = import(&gguf(), Some(ModelId(ID.into())), &library, &mut |_| ControlFlow::Continue(()));
        (model.expect("the model is imported").path, lock)
    });
    folder
}

/// A daemon with the MLX engine and this model, not yet loaded.
pub fn daemon() -> Daemon {
    Start::with_engine(Path::new(env!("CARGO_BIN_EXE_talkied-mlx"))).linked(ID, folder()).run()
}
