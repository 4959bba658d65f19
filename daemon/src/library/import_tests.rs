use std::fs::File as DiskFile;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::mpsc;

use proptest::prelude::*;
use protocol::ModelState;
use serde_json::{Value, json};

use super::*;
use crate::library::fixture::{self, Entry, File, Q4_0, Q4_1, Q5_0, Q8_0};

/// A folder that lasts as long as the first value, and a library inside it that does not exist yet.
fn library() -> (tempfile::TempDir, Library) {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::at(folder.path().join("models"));
    (folder, library)
}

/// Imports a file, for which no engine is needed.
fn import(
    path: &Path,
    id: Option<ModelId>,
    library: &Library,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    super::import(&source(path, id, None), library, progress)
}

fn source(path: &Path, id: Option<ModelId>, quantize: Option<(u32, u32)>) -> Source {
    let quantize = quantize.map(|(bits, group_size)| Quantize { bits, group_size });
    Source { quantize, ..Source::new(path.to_owned(), id, "none".into()) }
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn id(id: &str) -> ModelId {
    ModelId(id.into())
}

/// Names in the library's folder, hidden ones included, but for the lock.
fn names(library: &Library) -> Vec<String> {
    let Ok(entries) = fs::read_dir(&library.root) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".import.lock").collect()
}

#[test]
fn a_file_becomes_a_whole_model() {
    let (folder, library) = library();
    let source = File::tiny(Q4_1).write(folder.path());
    let model = import(&source, None, &library, &mut go_on).unwrap();
    assert_eq!(model.id.0, "local/tiny");
    assert_eq!((model.state, model.problem.as_deref()), (ModelState::Complete, None));
    assert_eq!((model.architecture.as_deref(), model.context_length), (Some("llama"), Some(128)));
    assert_eq!(library.look().models, [model]);
    assert_eq!(names(&library), ["local_tiny"]);
    let mut files: Vec<_> =
        fs::read_dir(library.root.join("local_tiny")).unwrap().map(|f| f.unwrap().file_name()).collect();
    files.sort();
    let expected = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "talkied.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(files, expected);
}

#[test]
fn a_file_packed_as_only_candle_knows_stays_as_it_is() {
    let (folder, library) = library();
    let written = File::tiny(Q5_0).write(folder.path());
    let model = import(&written, None, &library, &mut go_on).unwrap();
    assert_eq!((model.state, model.problem.as_deref()), (ModelState::Complete, None));
    assert_eq!((model.backends.as_slice(), model.architecture.as_deref()), (&["candle".into()][..], Some("llama")));
    let kept = model.path.join("model.gguf");
    let node = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(node(&kept), node(&written));
    let copied = Source { copy: true, ..source(&written, Some(id("copy")), None) };
    let copy = super::import(&copied, &library, &mut go_on).unwrap().path.join("model.gguf");
    assert_ne!(node(&copy), node(&written));
    assert_eq!(fs::read(copy).unwrap(), fs::read(&written).unwrap());
    let packed = super::import(&source(&written, Some(id("x")), Some((4, 64))), &library, &mut go_on);
    assert!(matches!(packed, Err(ImportError::NotSupported { .. })));
    let ended = import(&written, Some(id("y")), &library, &mut |_| ControlFlow::Break(()));
    assert!(matches!(ended, Err(ImportError::Cancelled { .. })));
    assert_eq!(names(&library).len(), 2);
}

#[test]
fn a_gguf_file_that_is_cut_or_foreign_is_told_as_such() {
    let (folder, library) = library();
    let problem = |change: &dyn Fn(&Path)| {
        let path = import(&File::tiny(Q5_0).write(folder.path()), None, &library, &mut go_on).unwrap().path;
        let gguf = fs::read(path.join("model.gguf")).unwrap();
        fs::remove_file(path.join("model.gguf")).unwrap();
        fs::remove_file(path.join("talkied.json")).unwrap();
        fs::write(path.join("model.gguf"), gguf).unwrap();
        change(&path);
        let problem = library.look().models[0].problem.clone();
        fs::remove_dir_all(path).unwrap();
        problem.unwrap_or_default()
    };
    assert_eq!(problem(&|_| {}), "");
    let cut =
        problem(&|path| DiskFile::options().write(true).open(path.join("model.gguf")).unwrap().set_len(9000).unwrap());
    assert!(cut.starts_with("model.gguf: ") && cut.contains("download the model again"), "{cut}");
    let two = problem(&|path| fs::write(path.join("other.gguf"), "").unwrap());
    assert!(two.contains("2 GGUF files"), "{two}");
    let foreign = problem(&|path| fs::write(path.join("config.json"), r#"{"model_type": "gpt_oss"}"#).unwrap());
    assert!(foreign.contains("no engine here runs GGUF files"), "{foreign}");
}

#[test]
fn the_configuration_tells_the_bits_of_each_layer() {
    let quantization = |file: &File| {
        let (folder, library) = library();
        import(&file.write(folder.path()), Some(id("x")), &library, &mut go_on).unwrap();
        let config = fs::read(library.root.join("x/config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!((&config["bos_token_id"], &config["eos_token_id"]), (&json!(1), &json!(2)));
        assert_eq!(config.get("quantization"), config.get("quantization_config"));
        config.get("quantization").cloned()
    };
    assert_eq!(quantization(&File::tiny(fixture::F16)), None);
    assert_eq!(quantization(&File::tiny(Q8_0)), Some(json!({"group_size": 32, "bits": 8})));
    let mut file = File::tiny(Q4_0);
    file.remove("token_embd.weight");
    file.push("token_embd.weight", &[265, 64], Q8_0);
    let mixed = json!({"group_size": 32, "bits": 4, "model.embed_tokens": {"group_size": 32, "bits": 8}});
    assert_eq!(quantization(&file), Some(mixed));
}

#[test]
fn the_id_is_the_one_asked_for_or_made_of_the_files_name() {
    let (folder, library) = library();
    let mut file = File::tiny(Q4_0);
    file.set("general.name", Entry::Text("../../etc/A Training Run"));
    let written = file.write(folder.path());
    let imported = |name: &str, asked| {
        let path = folder.path().join(name);
        std::fs::copy(&written, &path).unwrap();
        import(&path, asked, &library, &mut go_on).map(|model| model.id.0)
    };
    assert_eq!(imported("x.gguf", Some(id("my_org/name"))).unwrap(), "my_org/name");
    for (name, expected) in [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "local/SmolLM2-135M-Instruct.Q4_1"),
        ("a  model (2).gguf", "local/a-model-2"),
        ("日本語.gguf", "local/etc-A-Training-Run"),
    ] {
        assert_eq!(imported(name, None).unwrap(), expected);
    }
    let long = format!("{}.gguf", "x".repeat(200));
    assert_eq!(imported(&long, None).unwrap().len(), "local/".len() + MAX_NAME_BYTES);
    for asked in ["../x", "a/b/c", "", ".hidden", "a/x.partial", "x.incoming"] {
        assert!(matches!(imported("y.gguf", Some(id(asked))), Err(ImportError::InvalidId { .. })), "{asked:?}");
    }
}

#[test]
fn what_is_no_file_is_told_apart_from_what_is_no_model() {
    let (folder, library) = library();
    let error = |path: &Path| import(path, None, &library, &mut go_on).unwrap_err();
    assert!(matches!(error(&folder.path().join("none.gguf")), ImportError::Read { .. }));
    assert!(matches!(error(folder.path()), ImportError::Damaged { .. }));
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(error(&pipe), ImportError::Read { .. }));
    let text = folder.path().join("text.gguf");
    fs::write(&text, "not a model").unwrap();
    let told = error(&text);
    assert_eq!(
        told.to_string(),
        format!("import {}: the file is no GGUF file: it does not begin with GGUF", text.display())
    );
    assert!(matches!(told, ImportError::Damaged { .. }));
    let mut file = File::tiny(Q4_0);
    file.set("general.architecture", Entry::Text("gemma3"));
    assert!(matches!(error(&file.write(folder.path())), ImportError::NotSupported { .. }));
    assert!(names(&library).is_empty());
}

#[test]
fn a_files_weights_keep_their_bits() {
    let (folder, library) = library();
    let file = |kind| File::tiny(kind).write(folder.path());
    let asked = |path: &Path, bits, group_size| {
        super::import(&source(path, Some(id("x")), Some((bits, group_size))), &library, &mut go_on)
    };
    for (kind, bits, group_size, own) in [
        (Q4_0, 8, 32, "4 bits in groups of 32"),
        (Q8_0, 8, 64, "8 bits in groups of 32"),
        (fixture::F16, 4, 32, "plain"),
    ] {
        let error = asked(&file(kind), bits, group_size).unwrap_err();
        assert!(matches!(error, ImportError::NotSupported { .. }), "{error}");
        assert!(error.to_string().contains(&format!("stay as they are, {own}: leave the bits out")), "{error}");
    }
    for (bits, group_size) in [(7, 32), (4, 16), (0, 0)] {
        let error = asked(&file(Q4_0), bits, group_size).unwrap_err();
        assert!(matches!(error, ImportError::InvalidQuantize { .. }), "{error}");
    }
    assert!(names(&library).is_empty());
    asked(&file(Q8_0), 8, 32).unwrap();
}

#[test]
fn an_installed_model_is_never_replaced() {
    let (folder, library) = library();
    let source = File::tiny(Q4_0).write(folder.path());
    fs::create_dir_all(library.root.join("org_empty")).unwrap();
    std::os::unix::fs::symlink("nowhere", library.root.join("org_link")).unwrap();
    import(&source, Some(id("org/whole")), &library, &mut go_on).unwrap();
    for taken in ["org/whole", "org_whole", "org/empty", "org/link"] {
        let error = import(&source, Some(id(taken)), &library, &mut go_on).unwrap_err();
        assert!(matches!(error, ImportError::Exists { .. }), "{error}");
    }
    assert_eq!(names(&library).len(), 3);
}

#[test]
fn half_a_model_is_never_listed() {
    let (folder, library) = library();
    let source = File::tiny(Q4_0).write(folder.path());
    let mut reports = 0;
    let mut look = |_| {
        reports += 1;
        assert!(library.look().models.is_empty());
        assert_eq!(names(&library), [format!(".org_x.incoming-{}", std::process::id())]);
        ControlFlow::Continue(())
    };
    import(&source, Some(id("org/x")), &library, &mut look).unwrap();
    assert!(reports > 20, "one report before the first tensor and one for each");
    assert_eq!(library.look().models.len(), 1);
}

#[test]
fn a_cancelled_import_leaves_nothing() {
    let (folder, library) = library();
    let source = File::tiny(Q4_0).write(folder.path());
    for reports in [0, 1, 10] {
        let mut left = reports;
        let mut stop = |_| {
            left -= 1;
            if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = import(&source, None, &library, &mut stop).unwrap_err();
        assert!(matches!(error, ImportError::Cancelled { .. }));
        assert!(names(&library).is_empty());
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_and_leaves_nothing() {
    let (folder, library) = library();
    let file = File::tiny(Q4_0);
    let (bytes, header) = (file.bytes(), file.header().len());
    let source = folder.path().join("cut.gguf");
    for cut in [0, 3, 4, 8, 16, 24, 100, header / 2, header - 1, header, header + 1, bytes.len() / 2, bytes.len() - 64]
    {
        fs::write(&source, &bytes[..cut]).unwrap();
        let error = import(&source, None, &library, &mut go_on).unwrap_err();
        assert!(matches!(error, ImportError::Damaged { .. }), "cut at {cut}: {error}");
        assert!(names(&library).is_empty());
    }
}

#[test]
fn a_file_that_shrinks_during_the_import_leaves_nothing() {
    let (folder, library) = library();
    let source = File::tiny(Q4_0).write(folder.path());
    let mut shrink = |_| {
        DiskFile::options().write(true).open(&source).unwrap().set_len(100).unwrap();
        ControlFlow::Continue(())
    };
    let error = import(&source, None, &library, &mut shrink).unwrap_err();
    assert!(matches!(error, ImportError::Read { .. }), "{error}");
    assert!(names(&library).is_empty());
}

#[test]
fn what_dead_imports_left_is_removed_and_nothing_else() {
    let (folder, library) = library();
    for name in [".org_a.incoming-1", ".org_b.incoming-4000000", ".other", "org_c.incoming"] {
        fs::create_dir_all(library.root.join(name).join("deep")).unwrap();
    }
    import(&File::tiny(Q4_0).write(folder.path()), Some(id("x")), &library, &mut go_on).unwrap();
    let mut names = names(&library);
    names.sort();
    assert_eq!(names, [".other", "org_c.incoming", "x"]);
}

#[test]
fn imports_run_one_after_the_other() {
    let (folder, library) = library();
    let source = File::tiny(Q4_0).write(folder.path());
    let (report, reports) = mpsc::channel();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (report, source, library) = (report.clone(), &source, &library);
            scope.spawn(move || {
                let mut tell = |_| {
                    let lock = DiskFile::open(library.root.join(".import.lock")).unwrap();
                    assert!(lock.try_lock().is_err(), "the lock is held");
                    report.send(number).unwrap();
                    ControlFlow::Continue(())
                };
                // Two of them want the same name.
                let done = import(source, Some(id(&format!("org/{}", number / 2))), library, &mut tell);
                assert!(matches!(done, Ok(_) | Err(ImportError::Exists { .. })));
            });
        }
    });
    drop(report);
    let mut order: Vec<usize> = reports.into_iter().collect();
    order.dedup();
    assert_eq!(order.len(), 4, "no import reports between two reports of another");
    assert_eq!(library.look().models.iter().map(|model| model.is_installed).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn a_model_larger_than_the_disk_is_refused_with_both_numbers() {
    let (folder, library) = library();
    let disk = rustix::fs::statvfs(folder.path()).unwrap();
    // The embedding is nearly all of the file, and nearly all of it a hole.
    let rows = disk.f_bavail * disk.f_frsize / (64 * 4) + 265;
    let mut file = File::tiny(fixture::F32);
    file.remove("token_embd.weight");
    file.push("token_embd.weight", &[265, 64], fixture::F32);
    file.tensor("token_embd.weight").shape[0] = rows;
    let source = file.write(folder.path());
    DiskFile::options()
        .write(true)
        .open(&source)
        .unwrap()
        .set_len(file.header().len() as u64 * 2 + rows * 64 * 5)
        .unwrap();
    // Should the refusal fail, the disk must not be filled for it.
    let mut begin = |now: Progress| if now.done_bytes > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    match import(&source, None, &library, &mut begin).unwrap_err() {
        ImportError::NoSpace { needed_bytes, free_bytes, .. } => {
            assert!(needed_bytes > free_bytes && needed_bytes > rows * 64 * 4);
        }
        other => panic!("{other}"),
    }
    assert!(names(&library).is_empty());
}

/// The limit of a process on the length of its files stands for the full disk: both fail a `write` halfway, and this
/// one needs no rights and no file system of its own.
#[test]
fn a_disk_that_becomes_full_ends_the_import_and_leaves_nothing() {
    const INSIDE: &str = "TALKIED_TEST_IMPORT_INTO";
    if let Some(root) = std::env::var_os(INSIDE) {
        let library = Library::at(root.into());
        let source = library.root.with_file_name("tiny.gguf");
        let error = import(&source, None, &library, &mut go_on).unwrap_err();
        let ImportError::Write { path, source } = &error else { panic!("{error}") };
        assert!(path.ends_with("model.safetensors"), "{error}");
        assert_eq!(source.kind(), io::ErrorKind::FileTooLarge);
        return;
    }
    let (folder, library) = library();
    File::tiny(fixture::F32).write(folder.path());
    let this = "library::import::tests::a_disk_that_becomes_full_ends_the_import_and_leaves_nothing";
    // 128 blocks are 64 or 128 KiB: enough for the tokenizer, not for the weights.
    let script = "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact \"$1\"";
    let mut child = Command::new("sh");
    child.args(["-c", script]).arg(std::env::current_exe().unwrap()).arg(this).env(INSIDE, &library.root);
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    assert!(library.root.is_dir(), "the import came as far as the disk");
    assert!(names(&library).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_with_any_few_bytes_changed_never_panics_and_leaves_all_or_nothing(
        changes in proptest::collection::vec((0..9000_usize, any::<u8>()), 1..4),
    ) {
        let (folder, library) = library();
        let mut bytes = File::tiny(Q4_0).bytes();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let source = folder.path().join("changed.gguf");
        fs::write(&source, bytes).unwrap();
        match import(&source, Some(id("x")), &library, &mut go_on) {
            Ok(model) => prop_assert_eq!(model.state, ModelState::Complete),
            Err(_) => prop_assert!(names(&library).is_empty()),
        }
    }
}
