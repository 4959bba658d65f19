use std::os::unix::fs::{PermissionsExt, symlink};

use protocol::ModelSource;

use super::super::Place;
use super::super::fixture::fill;
use super::*;
use crate::events::Events;

fn library() -> (tempfile::TempDir, Library) {
    let folder = tempfile::tempdir().unwrap();
    let others = vec![Place { root: folder.path().join("hub"), source: ModelSource::HuggingFaceCache }];
    let library = Library::new(folder.path().join("own"), others, Events::default());
    (folder, library)
}

fn id(text: &str) -> ModelId {
    ModelId(text.into())
}

#[test]
fn files_that_models_share_count_once() {
    let (_folder, library) = library();
    for name in ["org_a", "org_b"] {
        fill(&library.root.join(name), "llama");
    }
    let weights = |name: &str| library.root.join(name).join("model.safetensors");
    fs::write(weights("org_a"), vec![7; 100_000]).unwrap();
    fs::remove_file(weights("org_b")).unwrap();
    fs::hard_link(weights("org_a"), weights("org_b")).unwrap();
    let storage = library.storage().unwrap();
    let small = 23 + 2;
    let told: Vec<_> = storage.models.iter().map(|it| (it.model.0.as_str(), it.size, it.own_bytes)).collect();
    assert_eq!(told, [("org/a", 100_000 + small, small), ("org/b", 100_000 + small, small)]);
    assert_eq!(storage.used_bytes, 100_000 + 2 * small);
    assert!(storage.free_bytes > 0 && storage.capacity_bytes >= storage.free_bytes);
    assert_eq!(library.remove(&id("org/a")).unwrap(), small, "the weights stay with the other");
    assert_eq!(library.remove(&id("org/b")).unwrap(), 100_000 + small);
    assert!(library.snapshot().models.is_empty());
}

#[test]
fn unfinished_downloads_count_what_is_written() {
    let (_folder, library) = library();
    let part = library.root.join(PULLS).join("org_name").join("model.safetensors");
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    let file = fs::File::create(&part).unwrap();
    file.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1; 8192], 4096).unwrap();
    let storage = library.storage().unwrap();
    assert_eq!(storage.pulls, [StoredPull { model: id("org/name"), size: storage.used_bytes }]);
    assert!((8192..1 << 20).contains(&storage.used_bytes), "{}", storage.used_bytes);
    assert!(storage.models.is_empty());
}

#[test]
fn a_removal_that_was_broken_off_is_swept() {
    let (_folder, library) = library();
    fill(&library.root.join(".removed-org_a"), "llama");
    fill(&library.root.join("org_b"), "llama");
    library.sweep();
    assert!(!library.root.join(".removed-org_a").exists());
    assert!(library.root.join("org_b").exists());
}

#[test]
fn a_link_is_removed_and_what_it_leads_to_stays() {
    let (folder, library) = library();
    fill(&folder.path().join("elsewhere"), "llama");
    fs::create_dir(&library.root).unwrap();
    symlink(folder.path().join("elsewhere"), library.root.join("org_a")).unwrap();
    assert_eq!(library.remove(&id("org/a")).unwrap(), 0);
    assert!(folder.path().join("elsewhere/config.json").exists());
    assert!(!library.root.join("org_a").exists());
}

#[test]
fn what_other_programs_use_is_not_removed() {
    let (folder, library) = library();
    let cached = folder.path().join("hub/models--org--a/snapshots/aa11");
    fill(&cached, "llama");
    let error = library.remove(&id("org/a")).unwrap_err();
    assert!(matches!(error, LibraryError::NotOurs { .. }), "{error}");
    assert!(cached.join("config.json").exists());
    assert!(matches!(library.remove(&id("org/none")).unwrap_err(), LibraryError::NotFound { .. }));
}

#[test]
fn a_folder_that_cannot_be_changed_keeps_its_models() {
    if rustix::process::geteuid().is_root() {
        // Permissions do not bind the superuser; a file system that cannot be written to binds it too.
        return in_a_place_without_writes();
    }
    let (_folder, library) = library();
    fill(&library.root.join("org_a"), "llama");
    fs::set_permissions(&library.root, fs::Permissions::from_mode(0o555)).unwrap();
    let error = library.remove(&id("org/a")).unwrap_err();
    fs::set_permissions(&library.root, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(error, LibraryError::Storage { .. }), "{error}");
    assert!(library.find(&id("org/a")).unwrap().ready().is_ok());
}

/// `/proc` takes no files, whoever asks.
fn in_a_place_without_writes() {
    let (folder, library) = library();
    drop(library);
    let link = folder.path().join("own");
    symlink("/proc/self", &link).unwrap();
    let library = Library::at(link);
    let error = library.remove(&id("task")).unwrap_err();
    assert!(matches!(error, LibraryError::Storage { .. }), "{error}");
}
