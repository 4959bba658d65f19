use std::os::unix::fs::symlink;

use protocol::ModelSource;

use super::super::Place;
use super::super::fixture::fill;
use super::super::manifest::Hasher;
use super::*;
use crate::events::Events;

fn fact(folder: &Path, name: &str) -> FileFact {
    let bytes = fs::read(folder.join(name)).unwrap();
    let mut hasher = Hasher::sha256();
    hasher.update(&bytes);
    FileFact { path: name.into(), size: bytes.len() as u64, hash: hasher.finish() }
}

fn states(verified: &Verified) -> Vec<(&str, FileState)> {
    verified.files.iter().map(|file| (file.path.as_str(), file.state)).collect()
}

#[test]
fn a_model_is_compared_with_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::at(folder.path().into());
    let id = ModelId("org/a".into());
    let model = folder.path().join("org_a");
    fill(&model, "llama");
    let facts = ["config.json", "model.safetensors", "tokenizer.json"].map(|name| fact(&model, name));
    let verified = library.verify(&id, || true).unwrap();
    assert_eq!((verified.ok, verified.against), (false, HashSource::Nothing));
    Manifest::new(id.clone(), None, "here".into(), facts.to_vec()).write(&model).unwrap();
    fs::write(model.join("notes.txt"), "mine").unwrap();
    let verified = library.verify(&id, || true).unwrap();
    assert_eq!((verified.ok, verified.against), (true, HashSource::Manifest));
    let (ok, unknown) = (FileState::Ok, FileState::Unknown);
    let whole = [("config.json", ok), ("model.safetensors", ok), ("notes.txt", unknown), ("tokenizer.json", ok)];
    assert_eq!(states(&verified), whole);
    // One bit of the same length, a file that is longer, and one that is gone.
    let mut weights = fs::read(model.join("model.safetensors")).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    fs::write(model.join("model.safetensors"), weights).unwrap();
    fs::write(model.join("config.json"), "{\"model_type\": \"llama\", \"more\": 1}").unwrap();
    fs::remove_file(model.join("tokenizer.json")).unwrap();
    let verified = library.verify(&id, || true).unwrap();
    assert!(!verified.ok);
    let (changed, missing) = (FileState::Changed, FileState::Missing);
    let told = [changed, changed, unknown, missing];
    assert_eq!(verified.files.iter().map(|file| file.state).collect::<Vec<_>>(), told);
}

#[test]
fn a_cached_model_is_compared_with_the_names_of_its_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Place { root: folder.path().join("hub"), source: ModelSource::HuggingFaceCache };
    let library = Library::new(folder.path().join("own"), vec![hub], Events::default());
    let repository = folder.path().join("hub/models--org--a");
    let (snapshot, blobs) = (repository.join("snapshots/aa11"), repository.join("blobs"));
    fill(&snapshot, "llama");
    fs::create_dir(&blobs).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let bytes = fs::read(snapshot.join(name)).unwrap();
        let mut hasher = if name == "config.json" { Hasher::git_sha1(bytes.len() as u64) } else { Hasher::sha256() };
        hasher.update(&bytes);
        let (Hash::Sha256(hash) | Hash::GitSha1(hash)) = hasher.finish();
        fs::rename(snapshot.join(name), blobs.join(&hash)).unwrap();
        symlink(Path::new("../../blobs").join(&hash), snapshot.join(name)).unwrap();
    }
    let id = ModelId("org/a".into());
    let verified = library.verify(&id, || true).unwrap();
    assert_eq!((verified.ok, verified.against), (true, HashSource::HuggingFaceCache));
    assert!(verified.files.iter().all(|file| file.state == FileState::Ok));
    fs::write(fs::canonicalize(snapshot.join("tokenizer.json")).unwrap(), "[]").unwrap();
    assert_eq!(states(&library.verify(&id, || true).unwrap())[2], ("tokenizer.json", FileState::Changed));
}

#[test]
fn a_look_that_nobody_waits_for_ends() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::at(folder.path().into());
    let model = folder.path().join("org_a");
    fill(&model, "llama");
    let facts = vec![fact(&model, "model.safetensors")];
    let id = ModelId("org/a".into());
    Manifest::new(id.clone(), None, "here".into(), facts).write(&model).unwrap();
    let verified = library.verify(&id, || false).unwrap();
    assert_eq!((verified.ok, verified.files[1].state), (false, FileState::Unreadable));
}
