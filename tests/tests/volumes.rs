//! The disk of the models goes away and comes back.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use talkied_hub::{Fault, Hub, Kind, Match, Repo};

use crate::support::{Daemon, Start, until};

const NAME: &str = "model.safetensors";

fn models(daemon: &Daemon) -> Value {
    daemon.call("models.list", json!({})).unwrap()["models"].clone()
}

fn pull(daemon: &Daemon) -> Value {
    daemon.call("pulls.list", json!({})).unwrap()["pulls"][0].clone()
}

/// A disk that can be taken away, to which the home's folder of models is a link.
struct Volume {
    mounted: PathBuf,
    away: PathBuf,
    _root: tempfile::TempDir,
}

impl Volume {
    fn of(start: &Start) -> Self {
        let root = tempfile::tempdir().unwrap();
        let volume = Self { mounted: root.path().join("disk"), away: root.path().join("away"), _root: root };
        fs::create_dir(&volume.mounted).unwrap();
        let home = start.home();
        if home.join("Models").exists() {
            fs::rename(home.join("Models"), volume.mounted.join("Models")).unwrap();
        }
        fs::create_dir_all(volume.mounted.join("Models")).unwrap();
        std::os::unix::fs::symlink(volume.mounted.join("Models"), home.join("Models")).unwrap();
        volume
    }

    fn unmount(&self) {
        fs::rename(&self.mounted, &self.away).unwrap();
    }

    fn mount(&self) {
        assert!(!self.mounted.exists(), "nothing was made in its place");
        fs::rename(&self.away, &self.mounted).unwrap();
    }
}

#[test]
fn models_of_a_disk_that_is_gone_are_gone_and_come_back_with_it() {
    let start = Start::fake().model("test/echo", |_| {}).model("test/cold", |_| {});
    let volume = Volume::of(&start);
    let daemon = start.run();
    daemon.call("generate.text", json!({ "model": "test/echo", "prompt": "warm" })).unwrap();
    volume.unmount();
    until("only the one in memory is left", || models(&daemon).as_array().unwrap().len() == 1);
    assert_eq!((&models(&daemon)[0]["id"], &models(&daemon)[0]["state"]), (&json!("test/echo"), &json!("gone")));
    let still = daemon.call("generate.text", json!({ "model": "test/echo", "prompt": "still" }));
    assert!(still.is_ok() || still.as_ref().unwrap_err()["data"]["kind"] == "model_not_found", "{still:?}");
    let error = daemon.call("generate.text", json!({ "model": "test/cold", "prompt": "a" })).unwrap_err();
    assert_eq!(error["data"]["kind"], "model_not_found", "{error}");
    volume.mount();
    until("both are back", || {
        let models = models(&daemon);
        models.as_array().unwrap().len() == 2 && models.as_array().unwrap().iter().all(|it| it["state"] == "complete")
    });
    let answer = daemon.call("generate.text", json!({ "model": "test/cold", "prompt": "back" })).unwrap();
    assert_eq!(answer["text"], "back");
}

/// Runs a command among the mounts of the daemon.
fn among_its_mounts(daemon: &Daemon, command: &[&str]) {
    let pid = daemon.pid().to_string();
    let status = Command::new("nsenter").args(["-t", &pid, "-m"]).args(command).status().unwrap();
    assert!(status.success(), "{command:?}");
}

#[test]
fn a_folder_of_models_that_is_unmounted_is_empty_and_comes_back() {
    let disk = tempfile::tempdir().unwrap();
    crate::support::model::install(disk.path(), "test/echo", |_| {});
    let (from, socket) = (disk.path().join("Models"), disk.path().join("t.sock"));
    let mount = format!("mkdir \"$TALKIE_HOME/Models\"; mount --bind '{}' \"$TALKIE_HOME/Models\"", from.display());
    let start = Start::fake().args(&["--socket", socket.to_str().unwrap()]);
    let at = start.home().join("Models");
    let Some(start) = start.on_a_small_disk(&mount).filter(|_| rustix::process::geteuid().is_root()) else { return };
    let daemon = start.run_at(&socket);
    assert_eq!(models(&daemon)[0]["state"], "complete");
    among_its_mounts(&daemon, &["umount", at.to_str().unwrap()]);
    assert_eq!(models(&daemon), json!([]));
    among_its_mounts(&daemon, &["mount", "--bind", from.to_str().unwrap(), at.to_str().unwrap()]);
    assert_eq!(models(&daemon)[0]["state"], "complete");
    assert_eq!(daemon.call("generate.text", json!({ "prompt": "back" })).unwrap()["text"], "back");
}

#[test]
fn a_pull_to_a_disk_that_is_not_there_fails_with_its_name_and_goes_on_later() {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(2 << 20, 1));
    let start = Start::fake().args(&["--hub", &hub.endpoint()]);
    let volume = Volume::of(&start);
    let home = start.home();
    let daemon = start.run();
    volume.unmount();
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    until("it fails", || pull(&daemon)["state"] == "failed");
    let error = pull(&daemon)["error"].clone();
    assert_eq!(error["kind"], "storage_failed", "{error}");
    let words = error["message"].as_str().unwrap();
    assert!(words.contains(&format!("{} is a link to", home.join("Models").display())), "{words}");
    assert!(words.contains("is its disk mounted?"), "{words}");
    volume.mount();
    daemon.call("pulls.resume", json!({ "model": "org/name" })).unwrap();
    until("it is installed", || models(&daemon)[0]["state"] == "complete");
}

#[test]
fn a_pull_whose_disk_goes_away_in_the_middle_fails_and_goes_on_later() {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(8 << 20, 1));
    hub.fail(Fault::always(Match::File(NAME.into()), Kind::Stall(1 << 20)));
    let start = Start::fake().args(&["--hub", &hub.endpoint()]);
    let volume = Volume::of(&start);
    let daemon = start.run();
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    until("some came", || pull(&daemon)["done_bytes"].as_u64().is_some_and(|done| done >= 1 << 20));
    volume.unmount();
    hub.heal();
    // What is open stays open: the bytes still come, but nothing can be installed.
    daemon.call("pulls.pause", json!({ "model": "org/name" })).unwrap();
    until("it rests", || matches!(pull(&daemon)["state"].as_str(), Some("failed" | "paused")));
    assert!(!volume.mounted.exists(), "nothing is made in the place of the disk");
    assert!(daemon.call("daemon.ping", json!({})).is_ok());
    volume.mount();
    daemon.call("pulls.resume", json!({ "model": "org/name" })).unwrap();
    until("it is installed", || models(&daemon)[0]["state"] == "complete");
}
