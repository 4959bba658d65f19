use std::fs;
use std::os::unix::fs::symlink;

use super::fixture::fill;
use super::*;

/// A library below a folder that lasts as long as the first value.
fn library() -> (tempfile::TempDir, Library) {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::at(folder.path().join("models"));
    fs::create_dir(&library.root).unwrap();
    (folder, library)
}

fn ids(library: &Library) -> Vec<String> {
    library.look().models.clone().into_iter().map(|model| model.id.0).collect()
}

#[test]
fn a_missing_or_empty_library_has_no_models() {
    let (_folder, library) = library();
    assert!(library.look().models.clone().is_empty());
    fs::remove_dir(&library.root).unwrap();
    assert!(library.look().models.clone().is_empty());
    fs::write(&library.root, "a file").unwrap();
    assert!(library.look().models.clone().is_empty());
}

#[test]
fn models_are_listed_by_id_with_what_is_known_of_them() {
    let (_folder, library) = library();
    for name in ["org_b-Model_1.5", "org_a", "bare", "Zed_x"] {
        fill(&library.root.join(name), "mistral");
    }
    assert_eq!(ids(&library), ["Zed/x", "bare", "org/a", "org/b-Model_1.5"]);
    let model = library.look().models.clone().pop().unwrap();
    let path = library.root.join("org_b-Model_1.5");
    let expected = Model {
        id: ModelId("org/b-Model_1.5".into()),
        name: "b-Model_1.5".into(),
        display_name: "b Model 1.5".into(),
        size: 25 + 10 + 2,
        kind: ModelType::Local,
        provider: "mlx".into(),
        backends: vec!["mlx".into(), "candle".into()],
        is_installed: true,
        is_loaded: false,
        path,
        state: ModelState::Complete,
        problem: None,
        architecture: Some("mistral".into()),
        capabilities: vec![Capability::Generate, Capability::Embed],
        context_length: None,
        quantization: None,
        source: ModelSource::Library,
        revision: None,
        residency: None,
    };
    assert_eq!(model, expected);
}

#[test]
fn what_is_hidden_unfinished_or_a_file_is_no_model() {
    let (_folder, library) = library();
    for name in [".hidden", ".org_x.incoming-7", "org_x.partial", "org_y.incoming"] {
        fill(&library.root.join(name), "llama");
    }
    fs::write(library.root.join("README.md"), "text").unwrap();
    assert!(library.look().models.clone().is_empty());
    let error = library.find(&ModelId("org/x.partial".into())).unwrap_err();
    assert!(matches!(error, LibraryError::NotFound { .. }));
}

#[test]
fn a_broken_folder_is_listed_with_its_problem() {
    let (_folder, library) = library();
    fill(&library.root.join("org_whole"), "llama");
    fill(&library.root.join("org_other"), "mamba");
    fs::create_dir(library.root.join("org_empty")).unwrap();
    let models = library.look().models.clone();
    let told: Vec<_> = models.iter().map(|model| (model.name.as_str(), model.state, model.is_installed)).collect();
    let (broken, partial, complete) = (ModelState::Broken, ModelState::Partial, ModelState::Complete);
    assert_eq!(told, [("empty", partial, false), ("other", broken, false), ("whole", complete, true)]);
    assert!(models[0].problem.as_ref().unwrap().contains("config.json is missing"));
    assert!(models[1].problem.as_ref().unwrap().contains("no engine here runs"));
}

#[test]
fn names_that_no_id_can_have_are_listed_as_broken() {
    let (_folder, library) = library();
    for name in ["my model", "_x", "x_", "a_.b", "Modèle"] {
        fill(&library.root.join(name), "llama");
    }
    assert_eq!(ids(&library), ["Modèle", "_x", "a_.b", "my model", "x_"]);
    let broken = library.look().models.clone().into_iter().filter(|model| model.state == ModelState::Broken);
    assert_eq!(broken.map(|model| model.name).collect::<Vec<_>>(), ["Modèle", "my model"]);
    for id in ["_x", "x_", "a_.b"] {
        library.find(&ModelId(id.into())).unwrap().ready().unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_text_is_listed_as_broken() {
    use std::os::unix::ffi::OsStrExt;
    let (_folder, library) = library();
    fill(&library.root.join(std::ffi::OsStr::from_bytes(b"org_\xff\xfe")), "llama");
    let models = library.look().models.clone();
    assert_eq!((models.len(), models[0].state), (1, ModelState::Broken));
}

#[test]
fn folders_are_followed_through_links_and_never_in_circles() {
    let (folder, library) = library();
    fill(&folder.path().join("elsewhere"), "llama");
    symlink(folder.path().join("elsewhere"), library.root.join("org_linked")).unwrap();
    symlink(library.root.join("org_loop"), library.root.join("org_loop")).unwrap();
    symlink("nowhere", library.root.join("org_lost")).unwrap();
    symlink(&library.root, library.root.join("org_root")).unwrap();
    let models = library.look().models.clone();
    let states: Vec<_> = models.iter().map(|model| (model.name.as_str(), model.state)).collect();
    let (broken, partial, complete) = (ModelState::Broken, ModelState::Partial, ModelState::Complete);
    assert_eq!(states, [("linked", complete), ("loop", broken), ("lost", broken), ("root", partial)]);
    assert!(models[2].problem.as_ref().unwrap().contains("the link org_lost cannot be followed"));
}

#[test]
fn a_model_is_found_by_every_id_of_its_folder() {
    let (_folder, library) = library();
    fill(&library.root.join("my_org_name"), "llama");
    assert_eq!(ids(&library), ["my/org_name"]);
    for id in ["my/org_name", "my_org/name", "my_org_name"] {
        let entry = library.find(&ModelId(id.into())).unwrap();
        assert_eq!(entry.model.id.0, id);
        assert_eq!(entry.ready().unwrap(), library.root.join("my_org_name"));
        assert_eq!(entry.weight_bytes, 10);
    }
}

#[test]
fn looking_up_what_is_not_there_says_where_it_would_be() {
    let (folder, library) = library();
    let error = library.find(&ModelId("org/none".into())).unwrap_err();
    let path = library.root.join("org_none");
    assert_eq!(error.to_string(), format!("find org/none: there is no folder {}", path.display()));
    fill(&folder.path().join("elsewhere"), "llama");
    for id in ["", "..", "../elsewhere", "/etc", "a/../..", "a/b/c", "a\0b"] {
        let error = library.find(&ModelId(id.into())).unwrap_err();
        assert!(matches!(error, LibraryError::InvalidId(wrong) if wrong == id));
    }
}

#[test]
fn what_cannot_be_loaded_is_found_but_not_ready() {
    let (_folder, library) = library();
    fill(&library.root.join("org_other"), "mamba");
    fs::create_dir(library.root.join("org_empty")).unwrap();
    let ready = |id: &str| library.find(&ModelId(id.into())).unwrap().ready().map(Path::to_path_buf).unwrap_err();
    assert!(matches!(ready("org/other"), LibraryError::NotSupported { .. }));
    assert!(matches!(ready("org/empty"), LibraryError::Broken { .. }));
}
