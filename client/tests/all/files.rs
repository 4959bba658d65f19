//! `import`, `catalogue`, `verify`, `rm`, `du`: what goes out and what is printed.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::model;
use crate::fake::{Fake, run, talkiectl};

#[test]
fn import_sends_an_absolute_path() {
    let fake = Fake::new(|call| call.result(&model(&json!({}))));
    std::fs::write(fake.home.path().join("x.gguf"), "GGUF").expect("a file");
    let mut command = fake.talkiectl(&["import", "x.gguf", "--model", "org/x"]);
    command.current_dir(fake.home.path());
    let ended = run(command);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "org/x is installed: 1.8 GB\n"));
    let (method, params) = fake.sees_call();
    let path = params[0]["path"].as_str().expect("a path").to_owned();
    assert_eq!((&*method, &params[0]["model"]), ("models.import", &json!("org/x")));
    assert!(path.starts_with('/') && path.ends_with("/x.gguf"), "{path}");
}

#[test]
fn a_missing_file_is_told_before_anything_is_started() {
    let home = TempDir::new().expect("a directory");
    let ended = run(talkiectl(&home, &["import", "/nowhere/x.gguf"]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("error: failed to read /nowhere/x.gguf: "), "{}", ended.stderr);
}

#[test]
fn import_passes_on_how_a_folder_is_packed() {
    let fake = Fake::new(|call| call.result(&model(&json!({}))));
    let folder = fake.home.path().display().to_string();
    let ended = run(fake.talkiectl(&["import", &folder, "--copy", "--bits", "4", "--group-size", "32"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let params = json!([{"path": folder, "copy": true, "bits": 4, "group_size": 32}]);
    assert_eq!(fake.sees_call(), ("models.import".into(), params));
    let ended = run(fake.talkiectl(&["import", &folder, "--group-size", "32"]));
    assert_eq!(ended.code, Some(2), "a group of what is not packed: {}", ended.stderr);
}

fn entry(id: &str, fits: bool) -> Value {
    json!({
        "id": id, "name": id, "display_name": id, "size": 90_000_000, "type": "local", "provider": "mlx",
        "download_url": "https://hub.example/x", "parameters": 1, "context_length": 8192, "license": "MIT",
        "good_at": "notes", "memory_bytes": 300_000_000, "fits": fits, "machine_gb": 8, "is_default": false,
        "is_installed": false, "source": "built_in",
    })
}

#[test]
fn the_catalogue_can_be_narrowed_to_what_fits() {
    let models = [entry("org/small", true), entry("org/huge", false)];
    let all = json!({"models": models, "memory_bytes": 1_000_000_000});
    let fitting = json!({"models": models[..1], "memory_bytes": 1_000_000_000});
    for (arguments, shown) in [(&["catalogue", "--json"][..], &all), (&["catalogue", "--json", "--fits"], &fitting)] {
        let all = all.clone();
        let fake = Fake::new(move |call| call.result(&all));
        let ended = run(fake.talkiectl(arguments));
        assert_eq!(&serde_json::from_str::<Value>(&ended.stdout).expect("JSON"), shown);
        assert_eq!(fake.sees_call(), ("models.catalogue".into(), Value::Null));
    }
    let fake = Fake::new(move |call| call.result(&all));
    let ended = run(fake.talkiectl(&["catalogue", "--fits"]));
    assert!(ended.stdout.contains("org/small") && !ended.stdout.contains("org/huge"), "{}", ended.stdout);
}

fn verified(states: &[&str], against: &str) -> Value {
    let files = states.iter().map(|state| json!({"path": "config.json", "size": 9, "state": state}));
    let files: Vec<Value> = files.collect();
    json!({"model": "org/x", "ok": states == ["ok"], "against": against, "files": files})
}

#[test]
fn verify_of_a_whole_model_is_done() {
    let fake = Fake::new(|call| call.result(&verified(&["ok"], "manifest")));
    let ended = run(fake.talkiectl(&["verify", "org/x"]));
    let stdout = "FILE         SIZE  STATE\nconfig.json  9 B   ok\n\norg/x is whole, as its manifest says\n";
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""));
    assert_eq!(fake.sees_call(), ("models.verify".into(), json!([{"model": "org/x"}])));
}

#[test]
fn verify_of_a_model_that_is_not_whole_fails() {
    for (states, against, message) in [
        (&["ok", "changed"][..], "manifest", "error: 1 of 2 files of org/x is not as it should be\n"),
        (&["missing", "unreadable"], "manifest", "error: 2 of 2 files of org/x are not as they should be\n"),
        (&["unknown", "unknown"], "nothing", "error: nobody knows what the files of org/x should be\n"),
        (&["unknown", "unknown"], "manifest", "error: no file of org/x has a hash that is known\n"),
    ] {
        let fake = Fake::new(move |call| call.result(&verified(states, against)));
        let ended = run(fake.talkiectl(&["verify", "org/x"]));
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.starts_with(message), "{}", ended.stderr);
        assert!(ended.stderr.contains("\nhint: `talkiectl pull org/x` "), "{}", ended.stderr);
        assert_eq!(ended.stdout.lines().count(), 3, "the table comes all the same: {}", ended.stdout);
        let json = run(fake.talkiectl(&["verify", "org/x", "--json"]));
        assert_eq!((json.code, json.stdout.lines().count(), json.stderr.lines().count()), (Some(1), 1, 1));
    }
}

#[test]
fn rm_says_what_was_freed() {
    let fake = Fake::new(|call| {
        let model = call.call["params"][0]["model"].clone();
        call.result(&json!({"model": model, "freed_bytes": 1_834_000_000}));
    });
    let ended = run(fake.talkiectl(&["rm", "org/x", "org/y", "--force", "cancel"]));
    let stdout = "org/x is removed: 1.8 GB freed\norg/y is removed: 1.8 GB freed\n";
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""));
    for model in ["org/x", "org/y"] {
        assert_eq!(fake.sees_call(), ("models.delete".into(), json!([{"model": model, "force": "cancel"}])));
    }
}

#[test]
fn rm_of_a_model_in_use_names_the_way_out() {
    let fake = Fake::new(|call| {
        call.error(1006, &json!({"kind": "model_in_use", "message": "org/x is used by 1 request"}));
    });
    let ended = run(fake.talkiectl(&["rm", "org/x"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
    let stderr = "error: org/x is used by 1 request\nhint: `talkiectl rm org/x --force wait` lets its requests end first, \
                  `--force cancel` ends them\n";
    assert_eq!(ended.stderr, stderr);
    assert_eq!(fake.sees_call(), ("models.delete".into(), json!([{"model": "org/x"}])));
    assert_eq!(run(fake.talkiectl(&["rm", "org/x", "--force"])).code, Some(2), "how is not to be guessed");
    assert_eq!(run(fake.talkiectl(&["rm"])).code, Some(2), "what is not to be guessed");
}

#[test]
fn rm_goes_on_behind_a_model_that_cannot_be_removed() {
    let fake = Fake::new(|call| match (call.method(), call.call["params"][0]["model"].as_str()) {
        ("models.delete", Some("org/x")) => call.result(&json!({"model": "org/x", "freed_bytes": 1000})),
        ("models.delete", Some(model)) => {
            let message = format!("no model {model}");
            call.error(1001, &json!({"kind": "model_not_found", "message": message}));
        }
        _ => call.result(&json!({"models": [], "memory_bytes": 0})),
    });
    let ended = run(fake.talkiectl(&["rm", "org/a", "org/x", "org/b"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(4), "org/x is removed: 1.0 kB freed\n"));
    let errors: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors, ["error: no model org/a", "error: no model org/b"]);
}

#[test]
fn rm_ends_with_the_daemon() {
    let fake = Fake::new(crate::fake::Call::hang_up);
    let ended = run(fake.talkiectl(&["rm", "org/a", "org/b"]));
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.stderr);
}

#[test]
fn du_shows_what_models_take() {
    let storage = json!({
        "models": [{"model": "org/x", "source": "library", "path": "/m/org_x", "size": 2000, "own_bytes": 1000}],
        "pulls": [], "used_bytes": 2000, "free_bytes": 5000, "capacity_bytes": 9000, "path": "/m",
    });
    let sent = storage.clone();
    let fake = Fake::new(move |call| call.result(&sent));
    let stdout =
        "MODEL  SIZE    OWN     WHERE\norg/x  2.0 kB  1.0 kB  library\n\n2.0 kB used, 5.0 kB of 9.0 kB free in /m\n";
    let ended = run(fake.talkiectl(&["du"]));
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""));
    assert_eq!(fake.sees_call(), ("models.storage".into(), Value::Null));
    let json = run(fake.talkiectl(&["du", "--json"])).stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), storage);
}
