use std::time::{Duration, SystemTime};

use protocol::{ModelSource, ModelState};

use super::super::fixture::fill;
use super::*;

struct Disk {
    folder: tempfile::TempDir,
    places: Vec<Place>,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, source| Place { root: folder.path().join(name), source };
        let places = vec![
            place("own", ModelSource::Library),
            place("more", ModelSource::Folder),
            place("hub", ModelSource::HuggingFaceCache),
        ];
        Self { folder, places }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn scan(&self, before: Option<&Snapshot>) -> Snapshot {
        scan(&self.places, before, &Signs::Everywhere)
    }
}

#[test]
fn folders_without_a_sign_are_not_looked_at() {
    let disk = Disk::new();
    fill(&disk.path("own/org_a"), "llama");
    fill(&disk.path("own/org_b"), "llama");
    let first = disk.scan(None);
    for name in ["org_a", "org_b"] {
        fs::remove_file(disk.path("own").join(name).join("tokenizer.json")).unwrap();
    }
    fill(&disk.path("own/org_new"), "llama");
    let mut signs = Signs::default();
    signs.add(&[disk.path("own/org_b/tokenizer.json")]);
    let second = scan(&disk.places, Some(&first), &signs);
    assert_eq!(told(&first, &second), ["changed org/b Partial", "added org/new"], "what is new needs no sign");
    assert_eq!(told(&second, &disk.scan(Some(&second))), ["changed org/a Partial"]);
}

/// The changes between two looks, in a few words each.
fn told(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let words = |change| match change {
        ModelChange::Added { model } => format!("added {}", model.id),
        ModelChange::Changed { model } => format!("changed {} {:?}", model.id, model.state),
        ModelChange::Removed { model } => format!("removed {model}"),
        other => format!("{other:?}"),
    };
    differences(before, after).into_iter().map(words).collect()
}

#[test]
fn what_comes_changes_and_goes_is_told() {
    let disk = Disk::new();
    let first = disk.scan(None);
    assert!(first.models.is_empty());
    fill(&disk.path("own/org_a"), "llama");
    fill(&disk.path("own/org_b"), "llama");
    let second = disk.scan(Some(&first));
    assert_eq!(told(&first, &second), ["added org/a", "added org/b"]);
    fs::remove_file(disk.path("own/org_a/tokenizer.json")).unwrap();
    fs::remove_dir_all(disk.path("own/org_b")).unwrap();
    let third = disk.scan(Some(&second));
    assert_eq!(told(&second, &third), ["removed org/b", "changed org/a Partial"]);
    assert_eq!(told(&third, &disk.scan(Some(&third))), [""; 0]);
}

#[test]
fn a_folder_that_looks_as_before_is_not_opened_again() {
    let disk = Disk::new();
    fill(&disk.path("own/org_a"), "llama");
    let first = disk.scan(None);
    // Other words of the same length and time: nothing that a look could see.
    let config = disk.path("own/org_a/config.json");
    let text = fs::read_to_string(&config).unwrap();
    let modified = fs::metadata(&config).unwrap().modified().unwrap();
    let write = |time| {
        fs::write(&config, text.replace("llama", "qwen2")).unwrap();
        fs::File::options().write(true).open(&config).unwrap().set_modified(time).unwrap();
    };
    write(modified);
    let second = disk.scan(Some(&first));
    assert_eq!(second.models[0].architecture.as_deref(), Some("llama"));
    write(SystemTime::now() + Duration::from_secs(1));
    let third = disk.scan(Some(&second));
    assert_eq!(third.models[0].architecture.as_deref(), Some("qwen2"));
}

#[test]
fn the_first_place_that_has_a_model_counts() {
    let disk = Disk::new();
    let cached = disk.path("hub/models--org--a/snapshots/aa11");
    fill(&cached, "llama");
    fill(&disk.path("more/org/a"), "llama");
    let source = |snapshot: &Snapshot| snapshot.models.iter().map(|model| model.source).collect::<Vec<_>>();
    assert_eq!(source(&disk.scan(None)), [ModelSource::Folder]);
    fill(&disk.path("own/org_a"), "llama");
    assert_eq!(source(&disk.scan(None)), [ModelSource::Library]);
    fs::remove_dir_all(disk.path("own")).unwrap();
    fs::remove_dir_all(disk.path("more")).unwrap();
    let left = disk.scan(None);
    assert_eq!(source(&left), [ModelSource::HuggingFaceCache]);
    assert_eq!((left.models[0].revision.as_deref(), &left.models[0].path), (Some("aa11"), &cached));
}

#[test]
fn of_the_hugging_face_cache_only_what_an_engine_runs_is_a_model() {
    let disk = Disk::new();
    let cached = |name: &str| disk.path(&format!("hub/models--org--{name}/snapshots/aa11"));
    fill(&cached("runs"), "llama");
    fill(&cached("whisper"), "whisper");
    fill(&cached("tokenizer-only"), "llama");
    fs::remove_file(cached("tokenizer-only").join("model.safetensors")).unwrap();
    fill(&cached("coming"), "llama");
    fs::remove_file(cached("coming").join("model.safetensors")).unwrap();
    let index = r#"{"weight_map": {"a": "model-00001-of-00001.safetensors"}}"#;
    fs::write(cached("coming").join("model.safetensors.index.json"), index).unwrap();
    let found = disk.scan(None).models;
    let told: Vec<_> = found.iter().map(|model| (model.name.as_str(), model.state)).collect();
    assert_eq!(told, [("coming", ModelState::Partial), ("runs", ModelState::Complete)]);
}
