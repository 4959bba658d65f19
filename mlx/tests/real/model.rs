//! The model of these tests, from `cargo xtask test` or fetched here, imported by the daemon's own import.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use protocol::ModelId;
use talkied::library::{Library, Source, import};

use crate::given::given_or_made;
use crate::support::{Daemon, Start};

/// Its id in these tests.
pub const ID: &str = "test/smollm2";

/// The file that it is imported from.
pub fn gguf() -> PathBuf {
    given_or_made("TALKIE_TEST_MODEL_GGUF", &["model"])
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
        let library = Library::at(root.join("models"));
        if library.root.exists() {
            fs::remove_dir_all(&library.root).unwrap();
        }
        let source = Source::new(gguf(), Some(ModelId(ID.into())), env!("CARGO_BIN_EXE_talkied-mlx").into());
        let model = import(&source, &library, &mut |_| ControlFlow::Continue(()));
        (model.expect("the model is imported").path, lock)
    });
    folder
}

/// A daemon with the MLX engine and this model, not yet loaded.
pub fn daemon() -> Daemon {
    Start::with_engine(Path::new(env!("CARGO_BIN_EXE_talkied-mlx"))).linked(ID, folder()).run()
}
