//! The child's side of an import, played by shell scripts.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::library::{Library, fixture};

/// Writes a whole model to `$5`, the value of `--to`.
const MODEL: &str = r#"mkdir "$5"; cp "$3"/* "$5""#;

struct Place {
    folder: tempfile::TempDir,
    library: Library,
    source: Source,
}

/// A model to be packed by an engine that runs `script`.
fn place(script: &str) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let (model, engine) = (folder.path().join("model"), folder.path().join("engine"));
    fixture::folder(&model, &json!({"model_type": "llama"}));
    // By a process of its own: one that another test starts meanwhile would inherit the open file, which then cannot be
    // run.
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod +x "$0""#;
    assert!(Command::new("sh").args(["-c", write]).arg(&engine).arg(script).status().unwrap().success());
    let library = Library::at(folder.path().join("models"));
    let quantize = Some(Quantize { bits: 4, group_size: 64 });
    Place { library, source: Source { quantize, ..Source::new(model, None, engine) }, folder }
}

impl Place {
    fn import(&self) -> Result<protocol::Model, ImportError> {
        crate::library::import(&self.source, &self.library, &mut |_| ControlFlow::Continue(()))
    }

    /// That the import fails and leaves nothing.
    fn fails(&self) -> ImportError {
        let error = self.import().unwrap_err();
        assert_eq!(self.left(), [self.library.root.join(".import.lock")]);
        error
    }

    fn left(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.library.root).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

#[test]
fn what_the_engine_writes_becomes_the_model() {
    let script = format!(
        r#"echo "$@" > "$(dirname "$0")/arguments"
        echo '{{"done_bytes":0,"total_bytes":100}}'; {MODEL}
        echo something else; echo '{{"done_bytes":100,"total_bytes":100}}'"#
    );
    let place = place(&script);
    let mut told = Vec::new();
    let mut tell = |now: Progress| {
        // Those that come of looking say nothing new.
        if told.last() != Some(&now) {
            told.push(now);
        }
        ControlFlow::Continue(())
    };
    let model = crate::library::import(&place.source, &place.library, &mut tell).unwrap();
    assert!(model.is_installed, "{:?}", model.problem);
    let progress = |done_bytes, total_bytes| Progress { done_bytes, total_bytes };
    assert_eq!(told[..3], [progress(0, 0), progress(0, 100), progress(100, 100)]);
    let arguments = fs::read_to_string(place.folder.path().join("arguments")).unwrap();
    let from = fs::canonicalize(&place.source.path).unwrap();
    assert!(arguments.starts_with(&format!("convert --from {} --to /", from.display())), "{arguments}");
    assert!(arguments.ends_with("/converted --bits 4 --group-size 64\n"), "{arguments}");
    let mut files: Vec<_> = fs::read_dir(&model.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    let weights = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    assert_eq!(files, [&["config.json"], weights.as_slice(), &["talkied.json", "tokenizer.json"]].concat());
}

#[test]
fn what_the_engine_says_of_the_model_is_the_error() {
    let failing = |kind: &str| place(&format!(r#"mkdir "$5"; echo '{{"kind":"{kind}","message":"words"}}'; exit 1"#));
    let broken = failing("model_broken");
    let error = broken.fails();
    assert_eq!(error.to_string(), format!("import {}: words", broken.source.path.display()));
    assert!(matches!(error, ImportError::Damaged { .. }));
    assert!(matches!(failing("not_supported").fails(), ImportError::NotSupported { .. }));
    for kind in ["write", "internal", "cancelled"] {
        let ImportError::Engine { how, .. } = failing(kind).fails() else { panic!("{kind}") };
        assert_eq!(how, "words");
    }
}

#[test]
fn an_engine_that_dies_leaves_its_last_words() {
    let place = place("for n in 1 2 3 4 5 6; do echo line $n >&2; done; kill -9 $$");
    let error = place.fails().to_string();
    assert!(error.starts_with(&format!("convert with {}: signal: 9", place.source.engine.display())), "{error}");
    assert!(error.ends_with("it said: line 3 | line 4 | line 5 | line 6"), "{error}");
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let mut place = place("");
    place.source.engine = place.folder.path().join("absent");
    let error = place.fails();
    assert!(matches!(error, ImportError::Engine { .. }));
    assert!(error.to_string().contains("/absent: No such file"), "{error}");
}

#[test]
fn an_engine_that_writes_no_model_makes_none() {
    assert!(matches!(place("true").fails(), ImportError::Write { .. }));
    assert!(matches!(place(r#"mkdir "$5""#).fails(), ImportError::Damaged { .. }));
    let cut = format!("{MODEL}; printf x >> \"$5/model-00001-of-00002.safetensors\"");
    assert!(matches!(place(&cut).fails(), ImportError::Damaged { .. }));
}

#[test]
fn a_cancelled_import_ends_its_engine() {
    // It never ends by itself, not even when it is asked to, and the import waits for its end.
    let place = place(r#"trap '' TERM; mkdir "$5"; echo '{"done_bytes":1,"total_bytes":2}'; exec tail -f /dev/null"#);
    let mut stop = |now: Progress| match now.done_bytes {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let error = crate::library::import(&place.source, &place.library, &mut stop).unwrap_err();
    assert!(matches!(error, ImportError::Cancelled { .. }), "{error}");
    assert_eq!(place.left().len(), 1);
}

#[test]
fn an_import_that_hears_nothing_can_be_cancelled() {
    let place = place("exec tail -f /dev/null");
    let mut looks = 0;
    let mut stop = |_| {
        looks += 1;
        if looks == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let error = crate::library::import(&place.source, &place.library, &mut stop).unwrap_err();
    assert!(matches!(error, ImportError::Cancelled { .. }), "{error}");
}

#[test]
fn a_model_that_would_not_fit_is_refused_when_the_engine_knows_its_size() {
    let place = place(r#"echo '{"done_bytes":0,"total_bytes":4000000000000000000}'; exec tail -f /dev/null"#);
    let error = place.fails();
    let ImportError::NoSpace { needed_bytes, free_bytes, .. } = error else { panic!("{error}") };
    assert!(needed_bytes > 4_000_000_000_000_000_000 && free_bytes < needed_bytes);
}
