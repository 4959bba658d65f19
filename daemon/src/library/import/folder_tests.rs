use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use protocol::ModelState;
use serde_json::json;

use super::*;
use crate::library::fixture;

/// A model's folder and a library that does not exist yet, for as long as the first value lives.
fn place() -> (tempfile::TempDir, PathBuf, Library) {
    let place = tempfile::tempdir().unwrap();
    let (folder, library) = (place.path().join("My Model"), Library::at(place.path().join("models")));
    fixture::folder(&folder, &json!({"model_type": "llama"}));
    (place, folder, library)
}

fn source(path: &Path) -> Source {
    Source::new(path.to_owned(), None, "none".into())
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn import(source: &Source, library: &Library) -> Result<Model, ImportError> {
    super::import(source, library, &mut go_on)
}

/// Names in a folder, hidden ones included, but for the lock; none where there is no folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".import.lock");
    names.sort();
    names
}

/// That a folder is refused in these words, and leaves nothing.
fn refused(words: &str, damage: impl FnOnce(&Path)) -> ImportError {
    let (_place, folder, library) = place();
    damage(&folder);
    let error = import(&source(&folder), &library).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(names(&library.root).is_empty());
    error
}

#[test]
fn a_folder_becomes_a_model_with_the_same_bytes_under_a_second_name() {
    let (_place, folder, library) = place();
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    for name in ["1_Pooling/config.json", "chat_template.jinja", "LICENSE", "pytorch_model.bin", "run.py", ".cache"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let before = names(&folder);
    let mut told = Vec::new();
    let mut tell = |now: Progress| {
        told.push(now.done_bytes);
        assert_eq!(now.total_bytes, fs::metadata(folder.join("model-00001-of-00002.safetensors")).unwrap().len() * 2);
        ControlFlow::Continue(())
    };
    let model = super::import(&source(&folder), &library, &mut tell).unwrap();
    assert_eq!((model.id.0.as_str(), model.state), ("local/My-Model", ModelState::Complete));
    assert_eq!(library.look().models, [model]);
    let new = library.root.join("local_My-Model");
    let weights = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let texts = ["1_Pooling", "LICENSE", "chat_template.jinja", "config.json"];
    assert_eq!(names(&new), [texts.as_slice(), &weights, &["talkied.json", "tokenizer.json"]].concat());
    assert!(library.verify(&ModelId("local/My-Model".into()), || true).unwrap().ok);
    let inode = |folder: &Path, name: &str| fs::metadata(folder.join(name)).unwrap().ino();
    for name in weights {
        assert_eq!(inode(&new, name), inode(&folder, name));
    }
    // A text may be edited in its place, which must not change the model.
    assert_ne!(inode(&new, "config.json"), inode(&folder, "config.json"));
    assert_eq!(fs::read_to_string(new.join("1_Pooling/config.json")).unwrap(), "1_Pooling/config.json");
    assert_eq!(names(&folder), before);
    let each = fs::metadata(new.join(weights[0])).unwrap().len();
    assert_eq!(told[..3], [0, each, each * 2]);
}

#[test]
fn a_copy_has_bytes_of_its_own() {
    let (_place, folder, library) = place();
    import(&Source { copy: true, ..source(&folder) }, &library).unwrap();
    let (old, new) = ["My Model", "models/local_My-Model"]
        .map(|name| folder.with_file_name(name).join("model-00001-of-00002.safetensors"))
        .into();
    assert_ne!(fs::metadata(&old).unwrap().ino(), fs::metadata(&new).unwrap().ino());
    assert_eq!(fs::read(old).unwrap(), fs::read(new).unwrap());
}

#[test]
fn links_are_followed_to_files_and_never_carried_over() {
    let (place, folder, library) = place();
    let blobs = place.path().join("blobs");
    fs::create_dir(&blobs).unwrap();
    // As the hub's cache lies on the disk.
    let snapshot = place.path().join("models--org--a--b/snapshots/0123abcd");
    fs::create_dir_all(&snapshot).unwrap();
    for name in names(&folder) {
        fs::rename(folder.join(&name), blobs.join(&name)).unwrap();
        symlink(blobs.join(&name), snapshot.join(&name)).unwrap();
    }
    symlink("nowhere", snapshot.join("vocab.txt")).unwrap();
    symlink(&blobs, snapshot.join("folder.json")).unwrap();
    symlink("/dev/zero", snapshot.join("device.txt")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(snapshot.join("pipe.txt")).status().unwrap().success());
    let model = import(&source(&snapshot), &library).unwrap();
    assert_eq!(model.id.0, "org/a--b");
    let new = library.root.join("org_a--b");
    let mut expected = names(&blobs);
    expected.insert(3, "talkied.json".into());
    assert_eq!(names(&new), expected);
    for name in names(&new) {
        assert!(fs::symlink_metadata(new.join(&name)).unwrap().is_file(), "{name}");
    }
}

#[test]
fn what_is_no_whole_model_is_refused_by_name() {
    let remove = |folder: &Path, name: &str| fs::remove_file(folder.join(name)).unwrap();
    let without_weights = |folder: &Path| {
        remove(folder, "model-00001-of-00002.safetensors");
        remove(folder, "model-00002-of-00002.safetensors");
    };
    let error = refused("a pickle, pytorch_model.bin", |folder| {
        without_weights(folder);
        fs::write(folder.join("pytorch_model.bin"), "code").unwrap();
    });
    assert!(matches!(error, ImportError::NotSupported { .. }));
    let error = refused("in x.gguf: import that file", |folder| {
        without_weights(folder);
        fs::write(folder.join("x.gguf"), "GGUF").unwrap();
    });
    assert!(matches!(error, ImportError::NotSupported { .. }));
    let error = refused("which no engine here runs", |folder| {
        fs::write(folder.join("config.json"), r#"{"model_type": "other"}"#).unwrap();
    });
    assert!(matches!(error, ImportError::NotSupported { .. }));
    for (words, name) in [("config.json is missing", "config.json"), ("tokenizer.json is missing", "tokenizer.json")] {
        let error = refused(words, |folder| remove(folder, name));
        assert!(matches!(error, ImportError::Damaged { .. }));
    }
    let error = refused("is cut short", |folder| {
        fs::File::options()
            .write(true)
            .open(folder.join("model-00001-of-00002.safetensors"))
            .unwrap()
            .set_len(90)
            .unwrap();
    });
    assert!(matches!(error, ImportError::Damaged { .. }));
    refused("there is no model*.safetensors", without_weights);
    refused("claims a header of", |folder| {
        without_weights(folder);
        fs::write(folder.join("model.safetensors"), [255; 100]).unwrap();
    });
}

#[test]
fn a_folder_of_the_library_is_there_already() {
    let (place, folder, library) = place();
    import(&source(&folder), &library).unwrap();
    symlink(library.root.join("local_My-Model"), place.path().join("link")).unwrap();
    for inside in [library.root.join("local_My-Model"), place.path().join("link"), library.root.clone()] {
        let id = Some(ModelId("org/other".into()));
        let error = import(&Source { id, ..source(&inside) }, &library).unwrap_err();
        assert!(matches!(error, ImportError::InLibrary { .. }), "{error}");
    }
    let error = import(&source(&folder), &library).unwrap_err();
    assert!(matches!(error, ImportError::Exists { .. }), "{error}");
    let id = Some(ModelId("../x".into()));
    let error = import(&Source { id, ..source(&folder) }, &library).unwrap_err();
    assert!(matches!(error, ImportError::InvalidId { .. }), "{error}");
    assert_eq!(names(&library.root), ["local_My-Model"]);
}

#[test]
fn a_source_that_changes_meanwhile_is_no_model() {
    let (_place, folder, library) = place();
    let mut change = |now: Progress| {
        if now.done_bytes == 0 {
            fs::write(folder.join("config.json"), "{").unwrap();
        }
        ControlFlow::Continue(())
    };
    let error = super::import(&source(&folder), &library, &mut change).unwrap_err();
    assert!(matches!(error, ImportError::Damaged { .. }), "{error}");
    assert!(names(&library.root).is_empty());
}

#[test]
fn a_cancelled_import_of_a_folder_leaves_nothing() {
    let (_place, folder, library) = place();
    for copy in [false, true] {
        for reports in 0..3 {
            let mut left = reports;
            let mut stop = |_| {
                left -= 1;
                if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let error = super::import(&Source { copy, ..source(&folder) }, &library, &mut stop).unwrap_err();
            assert!(matches!(error, ImportError::Cancelled { .. }), "{error}");
            assert!(names(&library.root).is_empty());
        }
    }
}

#[test]
fn a_copy_larger_than_the_disk_is_refused_with_both_numbers() {
    let (_place, folder, library) = place();
    let disk = rustix::fs::statvfs(&folder).unwrap();
    let bytes = disk.f_bavail * disk.f_frsize + (1 << 20);
    // Nearly all of it is a hole.
    let tensor = format!(r#"{{"a":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let path = folder.join("model-00001-of-00002.safetensors");
    fs::write(&path, [(tensor.len() as u64).to_le_bytes().as_slice(), tensor.as_bytes()].concat()).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(8 + tensor.len() as u64 + bytes).unwrap();
    // Should the refusal fail, the disk must not be filled for it.
    let mut begin = |now: Progress| if now.done_bytes > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let copied = super::import(&Source { copy: true, ..source(&folder) }, &library, &mut begin);
    let Err(ImportError::NoSpace { needed_bytes, free_bytes, .. }) = copied else { panic!("{copied:?}") };
    assert!(needed_bytes > free_bytes && needed_bytes > bytes);
    assert!(names(&library.root).is_empty());
    // A second name needs no room.
    import(&source(&folder), &library).unwrap();
}

#[test]
fn packed_weights_are_not_packed_again() {
    let (_place, folder, library) = place();
    let config = json!({"model_type": "llama", "quantization": {"bits": 4, "group_size": 64}});
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let asked = |bits| {
        let quantize = Some(Quantize { bits, group_size: 64 });
        import(&Source { quantize, ..source(&folder) }, &library)
    };
    let error = asked(8).unwrap_err();
    assert!(error.to_string().contains("packed already, in 4 bits in groups of 64: leave the bits out"), "{error}");
    assert!(matches!(error, ImportError::NotSupported { .. }));
    assert!(names(&library.root).is_empty());
    asked(4).unwrap();
}
