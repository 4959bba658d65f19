//! Files rather than tokens: downloads beside `huggingface_hub` from one hub on this machine, and how soon a model that
//! is dropped in is listed.
//!
//! The hub is the tests' own, in this process; it paces nobody. Both download the same model of one large file into an
//! empty folder, in turns; talkied verifies and installs it as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};
use talkied_hub::{Hub, Repo};

use super::Extent;
use super::connection::Connection;
use super::figures::Samples;
use super::pairs::{self, Side};
use crate::command;
use crate::daemon::{self, Daemon};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::reference;
use crate::setup::{self, Setup};

const MODEL: &str = "org/name";

const LIST: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"models.list\"}\n";

/// Models that a long list has.
const INSTALLED: usize = 200;

/// Its own seconds: the start of Python and its imports are left out.
const SNAPSHOT: &str = "
import sys, time
from huggingface_hub import snapshot_download
begin = time.perf_counter()
snapshot_download(sys.argv[1], local_dir=sys.argv[2])
print(time.perf_counter() - begin)";

/// Measures and prints.
pub fn run(extent: Extent) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let Setup { workspace, cache } = setup::run(None)?;
    let (programs, python) = (daemon::build(&workspace)?, reference::python(&cache)?);
    let (bytes, count) = if extent == Extent::Quick { (256 << 20, 3) } else { (1 << 30, 5) };
    let hub = Hub::start();
    hub.add(Repo::new(MODEL, 0).with_model(bytes, 0));
    let mut daemon = Daemon::start_at_hub(&programs, &hub.endpoint())?;
    daemon.wait_until_listening(&interrupt)?;
    let mut connection = Connection::open(&daemon)?;
    let models = connection.call::<Status>("daemon.status", &json!({}))?.models_dir;
    let there = daemon.folder().join("snapshot");
    let [ours, theirs] = pairs::measure(count, &interrupt, |side, _| match side {
        Side::First => pull(&daemon).map(|seconds| bytes as f64 / 1e6 / seconds),
        Side::Second => snapshot(&python, &hub, &there).map(|seconds| bytes as f64 / 1e6 / seconds),
    })?;
    println!(
        "\ndownload of one file of {} MiB from a hub on this machine, median (least–most) of {count}",
        bytes >> 20
    );
    println!("talkied MB/s, verified and installed  {ours}");
    println!("huggingface_hub MB/s                  {theirs}");
    println!("  talkied is better by                × {}", ours.over(&theirs));
    let [listed, dropped] = listing(&daemon, &models, &interrupt)?;
    println!("\nmodels.list with {INSTALLED} models, ms        {listed}");
    println!("from a rename to `added`, ms          {dropped}");
    Ok(())
}

#[derive(Deserialize)]
struct Status {
    models_dir: PathBuf,
}

/// Seconds of a download by the daemon; the model is deleted again.
fn pull(daemon: &Daemon) -> Result<f64> {
    let mut connection = Connection::open(daemon)?;
    let begin = Instant::now();
    connection.call::<Value>("pulls.start", &json!({ "model": MODEL }))?;
    connection.call::<Value>("pulls.subscribe", &json!({ "model": MODEL }))?;
    loop {
        let event: Value = connection.event()?;
        match event["pull"]["state"].as_str() {
            Some("done") => break,
            Some("failed" | "paused" | "cancelled") => {
                return Err(Error::Unexpected(format!("the download ended: {}", event["pull"])));
            }
            _ => {}
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    Connection::open(daemon)?.call::<Value>("models.delete", &json!({ "model": MODEL }))?;
    Ok(seconds)
}

/// Seconds of a download by `huggingface_hub`.
fn snapshot(python: &Path, hub: &Hub, folder: &Path) -> Result<f64> {
    let mut script = Command::new(python);
    script.args(["-c", SNAPSHOT, MODEL]).arg(folder).env("HF_ENDPOINT", hub.endpoint()).env("HF_HOME", folder);
    // The hub here has no other way to send files.
    let told = command::output(script.env("HF_HUB_DISABLE_XET", "1").env("HF_HUB_DISABLE_PROGRESS_BARS", "1"))?;
    fs::remove_dir_all(folder).map_err(Error::io("remove", folder))?;
    told.trim().parse().map_err(|_| Error::Unexpected(format!("huggingface_hub's script printed {told}")))
}

/// Milliseconds of `models.list`, and from a model's rename into the folder until it is told.
fn listing(daemon: &Daemon, models: &Path, interrupt: &Interrupt) -> Result<[Samples; 2]> {
    let outside = daemon.folder().join("outside");
    for number in 0..INSTALLED {
        whole(&models.join(format!("org_model-{number}")))?;
    }
    let mut follower = Connection::open(daemon)?;
    follower.call::<Value>("models.subscribe", &json!({}))?;
    let mut connection = Connection::open(daemon)?;
    let count = |answer: Value| answer["models"].as_array().map_or(0, Vec::len);
    while count(connection.call("models.list", &json!({}))?) < INSTALLED {
        interrupt.check()?;
    }
    let mut listed = Samples::default();
    let mut answer = String::new();
    for _ in 0..200 {
        // As it comes: reading the answer is the client's work.
        let time = connection.round_trip(LIST, &mut answer)?;
        listed.push(time.as_secs_f64() * 1e3);
    }
    if answer.matches("\"is_installed\":true").count() != INSTALLED {
        return Err(Error::Unexpected(format!("models.list answered {answer}")));
    }
    let mut dropped = Samples::default();
    for number in 0..10 {
        whole(&outside)?;
        let begin = Instant::now();
        let (name, target) = (format!("org/new-{number}"), models.join(format!("org_new-{number}")));
        fs::rename(&outside, &target).map_err(Error::io("rename", &target))?;
        while follower.event::<Value>()?["model"]["id"] != name {
            interrupt.check()?;
        }
        dropped.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok([listed, dropped])
}

/// The files of a model that is none, but looks whole.
fn whole(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let files: [(&str, &[u8]); 3] = [
        ("config.json", br#"{"model_type": "llama"}"#),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
    ];
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
    }
    Ok(())
}
