//! Folders of a model's makers as the daemon imports them, with this engine packing the weights: what is generated
//! afterwards is what the weights say.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use engine::backend::Backend;
use engine::message::Load;
use protocol::{ModelId, Quantization};
use serde_json::Value;
use talkied::library::{ImportError, Library, Quantize, Source, import};
use talkied_mlx::Mlx;
use tempfile::TempDir;

use crate::checkpoint::Checkpoint;

/// The likeliest tokens after a prompt.
fn tokens(folder: &Path) -> Vec<u32> {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.to_owned()), &mut |_, _| {}).unwrap();
    mlx.greedy(&[3, 1, 4, 1, 5], 24).unwrap()
}

/// A model's folder with everything that the library asks for.
fn written(checkpoint: &Checkpoint) -> TempDir {
    let folder = checkpoint.write();
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    folder
}

fn source(folder: &Path, id: &str, bits: Option<u32>) -> Source {
    let quantize = bits.map(|bits| Quantize { bits, group_size: 32 });
    let engine = env!("CARGO_BIN_EXE_talkied-mlx").into();
    Source { quantize, ..Source::new(folder.to_owned(), Some(ModelId(id.into())), engine) }
}

#[test]
fn an_imported_model_generates_what_its_source_does() {
    let (folder, home) = (written(&Checkpoint::llama()), TempDir::new().unwrap());
    let library = Library::at(home.path().join("models"));
    let mut go_on = |_| ControlFlow::Continue(());
    let plain = import(&source(folder.path(), "org/plain", None), &library, &mut go_on).unwrap();
    assert_eq!((tokens(&plain.path), plain.quantization), (tokens(folder.path()), None));

    let packed = import(&source(folder.path(), "org/packed", Some(8)), &library, &mut go_on).unwrap();
    assert!(packed.is_installed, "{:?}", packed.problem);
    assert_eq!(packed.quantization, Some(Quantization { bits: 8, group_size: 32 }));
    let rounded = Checkpoint::llama().quantized(8).write();
    assert_eq!(tokens(&packed.path), tokens(rounded.path()));
    let config: Value = serde_json::from_slice(&fs::read(packed.path.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["quantization"]["mode"], "affine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is added to the source");
}

#[test]
fn what_the_engine_finds_wrong_is_told() {
    let mut checkpoint = Checkpoint::llama();
    checkpoint.tensors.remove("lm_head.weight");
    let (folder, home) = (written(&checkpoint), TempDir::new().unwrap());
    let library = Library::at(home.path().join("models"));
    let source = source(folder.path(), "org/broken", Some(4));
    let error = import(&source, &library, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, ImportError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("no weight file has the tensor lm_head.weight"), "{error}");
    assert!(library.look().models.is_empty());
}
