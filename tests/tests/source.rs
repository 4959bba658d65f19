//! Rules about the source that no compiler holds.

use std::fs;
use std::path::{Path, PathBuf};

/// The daemon's modules in the order a request travels. A module imports only from behind itself.
const WALK: [&str; 33] = [
    "lib",
    "rpc",
    "idle",
    "socket",
    "reload",
    "preload",
    "workflow",
    "provider",
    "generation",
    "stream",
    "local",
    "text",
    "scheduler",
    "process",
    "pull",
    "config",
    "library",
    "events",
    "express",
    "memory",
    "usage",
    "crash",
    "error",
    "app",
    "backend",
    "boot",
    "bounded",
    "private",
    "requests",
    "metrics",
    "secrets",
    "telemetry",
    "hugging_face",
];

/// What the walk's order does not say: who may look back, and why.
const EXCEPTIONS: [(&str, &str); 6] = [
    // The place of the socket is part of the configuration.
    ("config", "socket"),
    // The one table of errors knows the errors of all stages.
    ("error", "library"),
    ("error", "text"),
    // A model in use is a noun that scheduler and generation share.
    ("scheduler", "local"),
    // The path back begins where the walk ends.
    ("stream", "scheduler"),
    ("lib", "notify"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every Rust file of ours, with its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let folders = ["protocol", "engine", "mlx", "candle", "workflow", "daemon", "client", "tests", "xtask"];
    let mut folders: Vec<PathBuf> = folders.iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 60, "the sources are found: {}", found.len());
    found
}

fn is_test(name: &str) -> bool {
    name.ends_with("_tests.rs") || name.contains("tests/")
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(name, text)| !is_test(name) && !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(silent, [] as [String; 0]);
}

#[test]
fn no_file_is_long() {
    let long: Vec<(usize, String)> = sources()
        .into_iter()
        .map(|(name, text)| (text.lines().count(), name))
        .filter(|(lines, name)| *lines > if is_test(name) { 600 } else { 400 })
        .collect();
    assert_eq!(long, []);
}

#[test]
fn the_daemon_imports_only_what_lies_behind() {
    let place = |module: &str| WALK.iter().position(|name| *name == module);
    for (name, text) in sources() {
        let Some(module) = name.strip_prefix("daemon/src/") else { continue };
        let module = module.trim_end_matches(".rs").split('/').next().unwrap().trim_end_matches("_tests");
        if module == "main" || module == "lib" || is_test(&name) {
            continue;
        }
        let imports = text.lines().filter_map(|line| line.trim().strip_prefix("use crate::"));
        for import in imports.map(|import| import.split([':', ';']).next().unwrap()) {
            if import == module || EXCEPTIONS.contains(&(module, import)) {
                continue;
            }
            let (from, to) = (place(module), place(import));
            assert!(from.is_some() || module == "notify", "{name} is not in the walk");
            assert!(from < to, "{name} imports {import}, which lies before it");
        }
    }
}

#[test]
fn crates_depend_only_on_the_contract_and_the_boundary() {
    let ours =
        ["protocol", "engine", "talkied", "talkied-mlx", "talkied-candle", "talkiectl", "talkied-hub", "workflow"];
    for (folder, allowed) in [
        ("protocol", &[][..]),
        ("engine", &[]),
        ("mlx", &["engine"]),
        ("candle", &["engine"]),
        ("daemon", &["engine", "protocol", "workflow"]),
        ("client", &["protocol"]),
        ("hub", &[]),
        ("workflow", &["protocol"]),
    ] {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let sections = manifest.split("\n[").filter(|section| section.starts_with("dependencies]"));
        let found: Vec<&str> = sections
            .flat_map(str::lines)
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| ours.contains(name))
            .collect();
        assert_eq!(found, allowed, "{folder}");
    }
}

#[test]
fn no_mlx_outside_its_crate() {
    for (name, text) in sources() {
        if !name.starts_with("mlx/") && !is_test(&name) {
            assert!(!text.contains("use mlx_rs") && !text.contains("mlx_sys::"), "{name}");
        }
    }
}
