//! A daemon with workflows, and what is asked of it again and again.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Daemon, Start, until};

/// A daemon that may run programs for workflows.
pub fn start() -> Start {
    Start::fake().config("workflow_shell = [\"sh\"]\n")
}

/// Puts a workflow into its folder.
pub fn write(daemon: &Daemon, name: &str, text: &str) {
    let folder = daemon.home.path().join("Workflows");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).unwrap();
    let (new, path) = (folder.join(format!(".{name}")), folder.join(format!("{name}.toml")));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

/// Begins a run and returns its id.
pub fn run(daemon: &Daemon, workflow: &str, inputs: Value) -> String {
    let begun = daemon.call("workflows.run", json!({ "workflow": workflow, "inputs": inputs })).unwrap();
    begun["run"]["run"].as_str().unwrap().to_owned()
}

/// A run as it is now, with its log.
pub fn show(daemon: &Daemon, run: &str) -> Value {
    daemon.call("workflows.show", json!({ "run": run })).unwrap()
}

/// The same once nothing more happens in it.
pub fn at_rest(daemon: &Daemon, run: &str) -> Value {
    let mut shown = Value::Null;
    until("the run is at rest", || {
        shown = show(daemon, run);
        !["waiting", "running"].contains(&shown["run"]["state"].as_str().unwrap())
    });
    shown
}

/// Waits until a step has begun.
pub fn started(daemon: &Daemon, run: &str, place: &str) {
    until("the step has begun", || count(&show(daemon, run), "began", place) > 0);
}

/// The entries of one type.
pub fn entries<'s>(shown: &'s Value, kind: &str) -> Vec<&'s Value> {
    shown["log"].as_array().unwrap().iter().filter(|entry| entry["type"] == kind).collect()
}

/// How many entries of a type there are of a place.
pub fn count(shown: &Value, kind: &str, place: &str) -> usize {
    entries(shown, kind).iter().filter(|entry| entry["place"] == place).count()
}

/// The places in the order in which they were begun.
pub fn begun(shown: &Value) -> Vec<&str> {
    entries(shown, "began").iter().map(|entry| entry["place"].as_str().unwrap()).collect()
}

/// What a finished run gave.
pub fn outputs(shown: &Value) -> Value {
    assert_eq!(shown["run"]["state"], "finished", "{shown}");
    shown["outputs"].clone()
}

/// Says that a database is of another version: `user_version` stands at byte 60, big endian.
pub fn set_version(file: &Path, version: u32) {
    let file = fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(&version.to_be_bytes(), 60).unwrap();
}
