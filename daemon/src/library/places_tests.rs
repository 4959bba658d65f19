use std::os::unix::fs::symlink;

use super::*;

fn place(source: ModelSource) -> (tempfile::TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("models");
    fs::create_dir(&root).unwrap();
    (folder, Place { root, source })
}

/// A model's file below the place.
fn file(place: &Place, path: &str) {
    let path = place.root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "{}").unwrap();
}

fn found(place: &Place) -> Vec<(String, PathBuf)> {
    let relative = |path: PathBuf| path.strip_prefix(&place.root).unwrap().to_owned();
    place.candidates().into_iter().map(|found| (found.id.0, relative(found.path))).collect()
}

#[test]
fn a_folder_of_models_may_be_flat_or_have_folders_of_organisations() {
    let (_folder, place) = place(ModelSource::Folder);
    file(&place, "org_flat/config.json");
    file(&place, "lab/one/config.json");
    file(&place, "lab/two/config.json");
    file(&place, "lab/three.partial/config.json");
    file(&place, "lab/.DS_Store");
    file(&place, "notes.txt");
    let expected = [("lab/one", "lab/one"), ("lab/two", "lab/two"), ("org/flat", "org_flat")];
    assert_eq!(found(&place), expected.map(|(id, path)| (id.to_owned(), path.into())));
    for (id, path) in expected {
        assert_eq!(place.find(&ModelId(id.into())).unwrap().path, place.root.join(path));
    }
    assert_eq!(place.find(&ModelId("lab/four".into())), None);
    assert!(place.watched().contains(&place.root.join("lab")));
}

#[test]
fn the_hugging_face_cache_has_the_commit_of_main_else_the_latest() {
    let (_folder, place) = place(ModelSource::HuggingFaceCache);
    for commit in ["aa11", "bb22"] {
        file(&place, &format!("models--org--name/snapshots/{commit}/config.json"));
    }
    file(&place, "datasets--org--data/snapshots/cc33/data.json");
    file(&place, "models--org--empty/refs/main");
    file(&place, "version.txt");
    fs::create_dir(place.root.join("models--org--name/refs")).unwrap();
    fs::write(place.root.join("models--org--name/refs/main"), "aa11").unwrap();
    let snapshot = |commit: &str| format!("models--org--name/snapshots/{commit}").into();
    assert_eq!(found(&place), [("org/name".to_owned(), snapshot("aa11"))]);
    let model = place.find(&ModelId("org/name".into())).unwrap();
    assert_eq!((model.revision.as_deref(), model.source), (Some("aa11"), ModelSource::HuggingFaceCache));
    // A commit that is not there, or no commit at all.
    for main in ["dd44", "../../aa11", ""] {
        fs::write(place.root.join("models--org--name/refs/main"), main).unwrap();
        let later = fs::File::open(place.root.join("models--org--name/snapshots/bb22")).unwrap();
        later.set_modified(std::time::SystemTime::now() + std::time::Duration::from_mins(1)).unwrap();
        assert_eq!(found(&place), [("org/name".to_owned(), snapshot("bb22"))], "{main:?}");
    }
    assert!(place.watched().contains(&place.root.join("models--org--name/snapshots")));
    assert!(!place.watched().contains(&place.root.join("datasets--org--data")));
}

#[test]
fn links_never_lead_in_circles() {
    let (_folder, place) = place(ModelSource::Folder);
    symlink(&place.root, place.root.join("loop")).unwrap();
    symlink("nowhere", place.root.join("org_lost")).unwrap();
    file(&place, "org_name/config.json");
    assert!(found(&place).iter().any(|(id, _)| id == "org/name"));
    assert!(found(&place).len() <= 5);
}

#[test]
fn a_place_that_is_not_there_has_nothing() {
    let (folder, place) = place(ModelSource::HuggingFaceCache);
    drop(folder);
    assert_eq!(place.candidates(), []);
    assert_eq!(place.watched(), [place.root.clone(), place.root.parent().unwrap().to_owned()]);
}
