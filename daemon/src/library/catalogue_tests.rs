use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::memory::share;

const GB: u64 = 1_000_000_000;

fn built_in() -> Catalogue {
    catalogue(Path::new("/nowhere"), 8 * GB, |id| id.0.ends_with("Qwen3-8B-4bit"))
}

/// With a user's file of these bytes.
fn with(file: impl AsRef<[u8]>) -> Catalogue {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(FILE), file).unwrap();
    catalogue(home.path(), 8 * GB, |_| false)
}

fn find<'a>(catalogue: &'a Catalogue, name: &str) -> &'a CatalogueEntry {
    catalogue.models.iter().find(|model| model.id.0.ends_with(name)).unwrap()
}

#[test]
fn what_comes_with_the_daemon_is_sound() {
    let catalogue = built_in();
    assert_eq!(catalogue.problems, [""; 0]);
    let ids: BTreeSet<&str> = catalogue.models.iter().map(|model| model.id.0.as_str()).collect();
    assert_eq!(ids.len(), BUILT_IN.matches("\n[[model]]\n").count(), "an id stands twice");
    for name in [
        "Qwen2.5-3B-Instruct-4bit",
        "Llama-3.2-3B-Instruct-4bit",
        "Mistral-7B-Instruct-v0.3-4bit",
        "Phi-3.5-mini-instruct-4bit",
    ] {
        assert!(ids.contains(format!("mlx-community/{name}").as_str()), "{name}");
    }
    for model in &catalogue.models {
        assert!(model.context_length > 0 && !model.good_at.is_empty() && model.license != "unknown", "{}", model.id);
        assert_eq!(model.source, CatalogueSource::BuiltIn);
        let room = share(u64::from(model.machine_gb) << 30);
        assert!(model.memory_bytes <= room, "{} is too large for its Mac", model.id);
    }
    for gb in [8, 16, 32, 64] {
        assert!(catalogue.models.iter().any(|model| model.machine_gb == gb), "one is chosen for {gb} GB");
    }
    assert!(find(&catalogue, "Qwen3-8B-4bit").is_installed && !find(&catalogue, "-70B-Instruct-4bit").is_installed);
}

/// What a table says of its cache is needed for its memory, and an engine must know what it is.
#[test]
fn what_comes_with_the_daemon_leaves_nothing_out() {
    let mut shelf = Shelf::default();
    shelf.take(&Text::new("", BUILT_IN), CatalogueSource::BuiltIn);
    for (id, placed) in &shelf.models {
        for key in ["architecture", "display_name", "layers", "kv_heads", "head_dim", "machine_gb"] {
            assert!(placed.table.contains_key(key), "{id} has no {key}");
        }
    }
    let defaults = shelf.models.values().filter(|placed| placed.table.contains_key("default"));
    assert_eq!(defaults.count(), 1);
}

#[test]
fn the_default_is_first_and_then_the_small_come_before_the_large() {
    let models = built_in().models;
    assert!(models[0].is_default && models[1..].iter().all(|model| !model.is_default));
    assert!(models[1..].is_sorted_by_key(|model| model.size));
}

#[test]
fn a_model_fits_where_there_is_as_much_as_it_takes() {
    let needs = find(&built_in(), "Qwen3-8B-4bit").memory_bytes;
    for (memory_bytes, fits) in [(needs - 1, false), (needs, true), (0, false)] {
        let catalogue = catalogue(Path::new("/nowhere"), memory_bytes, |_| false);
        assert_eq!(find(&catalogue, "Qwen3-8B-4bit").fits, fits);
        assert_eq!(catalogue.memory_bytes, memory_bytes);
    }
}

#[test]
fn a_users_file_changes_adds_and_hides() {
    let own = with(
        r#"
        [[model]]
        id = "mlx-community/Qwen3-8B-4bit"
        good_at = "what I like"
        [[model]]
        id = "me/mine"
        parameters = 1_000_000_000
        [[model]]
        id = "mlx-community/Llama-3.3-70B-Instruct-4bit"
        hidden = true
        "#,
    );
    assert_eq!(own.problems, [""; 0]);
    let (changed, before) = (find(&own, "Qwen3-8B-4bit"), built_in());
    let before = find(&before, "Qwen3-8B-4bit");
    assert_eq!((changed.good_at.as_str(), changed.source), ("what I like", CatalogueSource::User));
    assert_eq!((changed.parameters, changed.size), (before.parameters, before.size));
    let mine = find(&own, "me/mine");
    assert_eq!((mine.name.as_str(), mine.display_name.as_str(), mine.license.as_str()), ("mine", "mine", "unknown"));
    assert_eq!((mine.quantization, mine.fits, mine.source), (None, true, CatalogueSource::User));
    assert_eq!(mine.download_url, "https://huggingface.co/me/mine");
    assert!(!own.models.iter().any(|model| model.id.0.contains("70B")));
}

#[test]
fn there_is_one_default_and_the_users_is_it() {
    let mine = "[[model]]\nid = \"me/mine\"\nparameters = 1\ndefault = true\n";
    let own = with(format!("{mine}[[model]]\nid = \"HuggingFaceTB/SmolLM2-360M-Instruct\"\ngood_at = \"titles\"\n"));
    assert_eq!(own.models[0].id.0, "me/mine");
    assert_eq!(own.models.iter().filter(|model| model.is_default).count(), 1);
}

#[test]
fn the_file_is_read_at_each_call() {
    let home = tempfile::tempdir().unwrap();
    let count = || catalogue(home.path(), 0, |_| false).models.len();
    let before = count();
    fs::write(home.path().join(FILE), "[[model]]\nid = \"me/mine\"\nparameters = 1\n").unwrap();
    assert_eq!(count(), before + 1);
    fs::remove_file(home.path().join(FILE)).unwrap();
    assert_eq!(count(), before);
}

/// Entries after `[[model]]` in line 3, with the line and some words of the problem.
#[test]
fn what_is_wrong_is_told_with_its_line_and_left_out() {
    let new = "id = \"me/mine\"\nparameters = 1";
    let count = built_in().models.len();
    for (entry, line, words) in [
        ("parameters = 1", 3, "needs an `id`"),
        ("id = \"../mine\"\nparameters = 1", 4, "no id of a model"),
        ("id = \"mine\"\nparameters = 1", 4, "which is `org/name`"),
        ("id = 7", 4, "invalid type"),
        ("id = \"me/mine\"", 3, "needs `parameters`"),
        ("id = \"me/mine\"\nparameters = \"many\"", 5, "invalid type"),
        ("id = \"me/mine\"\nparameters = -1", 5, "invalid value"),
        ("id = \"me/mine\"\nparameters = 9_000_000_000_000_000_000", 5, "no model has"),
        (&format!("{new}\n\nlicence = \"MIT\""), 7, "no key `licence`; did you mean `license`?"),
        (&format!("{new}\ncolour = 1"), 6, "no key `colour`, only id, "),
        (&format!("{new}\narchitecture = \"mamba\""), 6, "no engine here runs"),
        (&format!("{new}\nbits = 99"), 6, "bits are 2, 3, 4"),
        (&format!("{new}\nbits = 4\ngroup_size = 0"), 7, "a group has 32"),
        (&format!("{new}\nmode = \"mxfp4\"\nbits = 8"), 7, "this mode has 4 bits"),
        (&format!("{new}\nmode = \"nvfp4\"\ngroup_size = 32"), 7, "have 16 weights"),
        (&format!("{new}\ngroup_size = 32"), 3, "need `bits`"),
        (&format!("{new}\nmode = \"q4_k\""), 6, "unknown variant"),
        (&format!("{new}\nweights = [{{ parameters = 0 }}]"), 6, "no model has 0"),
        (&format!("{new}\nweights = [{{ parameters = 1, bit = 4 }}]"), 6, "unknown field"),
        (&format!("{new}\nlayers = 70000"), 6, "no model has 70000 layers"),
        (&format!("{new}\nlayers = 2\nwindowed_layers = 3\nwindow = 1"), 7, "more layers have a window"),
        (&format!("{new}\nlayers = 2\nwindowed_layers = 2"), 7, "need each other"),
        (&format!("{new}\ncontext_length = 9_000_000_000_000"), 6, "no model holds"),
        (&format!("{new}\ngood_at = \"{}\"", "x".repeat(2000)), 6, "more than the 1000"),
        (&format!("{new}\nweights = [{}]", "{ parameters = 1 },".repeat(17)), 6, "at most 16 parts"),
        ("id = \"me/none\"\nhidden = true", 5, "so none is hidden"),
        ("id = \"mlx-community/Qwen3-8B-4bit\"\nbits = 7", 5, "bits are 2, 3, 4"),
    ] {
        let catalogue = with(format!("# mine\n\n[[model]]\n{entry}\n[[model]]\nid = \"me/sound\"\nparameters = 1\n"));
        let [problem] = catalogue.problems.as_slice() else { panic!("{entry}: {:?}", catalogue.problems) };
        assert!(problem.contains(&format!("/catalogue.toml, line {line}: ")), "{entry}: {problem}");
        assert!(problem.contains(words), "{entry}: {problem}");
        assert_eq!(catalogue.models.len(), count + 1, "{entry}");
        assert!(find(&catalogue, "me/sound").size > 0);
    }
}

#[test]
fn what_is_wrong_with_a_whole_file_is_told_too() {
    let count = built_in().models.len();
    for (file, words) in [
        ("\n[[model]\nid = 1".into(), "line 2: "),
        ("[[models]]\nid = \"me/mine\"".into(), "line 1: there is no key `models`; did you mean `model`?"),
        ("model = 1".into(), "line 1: entries of a catalogue begin with [[model]]"),
        ("model = [1]".into(), "line 1: invalid type"),
        (format!("a = {}", "[".repeat(1 << 19)), "line 1: "),
        (format!("{}= 1", "a.".repeat(500_000)), "line 1: "),
        (
            format!("id = \"{}\"", "x".repeat(1 << 20)),
            "catalogue.toml: has 1048583 bytes, more than the 1048576 that are read",
        ),
    ] {
        let catalogue = with(&file);
        assert_eq!(catalogue.models.len(), count);
        assert!(catalogue.problems[0].contains(words), "{:?}", catalogue.problems);
        assert!(catalogue.problems.iter().all(|problem| problem.len() < 1000));
    }
    assert!(with([b'#', 0xff]).problems[0].contains("catalogue.toml: no text, invalid utf-8"));
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(FILE)).unwrap();
    let folder = catalogue(home.path(), 8 * GB, |_| false);
    assert!(folder.models.len() == count && folder.problems[0].contains("is a folder"), "{:?}", folder.problems);
}

#[test]
fn neither_models_nor_problems_are_without_end() {
    let entries: Vec<String> = (0..2000).map(|i| format!("[[model]]\nid = \"me/{i}\"\nparameters = 1")).collect();
    let models = with(entries.join("\n"));
    assert_eq!(models.models.len(), MAX_MODELS);
    let untold = 2000 + built_in().models.len() - MAX_MODELS - 32;
    assert!(models.problems[0].contains("at most 1000 models"));
    assert_eq!(models.problems.last().unwrap(), &format!("and {untold} more"));
    let long = with(format!("[[model]]\n{} = 1\n", "x".repeat(10_000)));
    assert_eq!(long.problems[0].chars().count(), 400);
}
