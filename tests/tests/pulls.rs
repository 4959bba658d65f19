//! Downloads by the whole daemon, from a hub that counts what it sends.

mod proxy;

use std::collections::hash_map::RandomState;
use std::fs::{self, Permissions};
use std::hash::BuildHasher;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use talkied_hub::{Fault, Hub, Kind, Match, Repo};

use crate::support::{Daemon, Start, until};
use proxy::Proxy;

const NAME: &str = "model.safetensors";

/// A hub with one repository, and a daemon that downloads from it.
fn daemon(weight_bytes: u64) -> (Hub, Daemon) {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(weight_bytes, 3));
    let daemon = Start::fake().args(&["--hub", &hub.endpoint()]).run();
    (hub, daemon)
}

fn pull(daemon: &Daemon) -> Value {
    let pulls = daemon.call("pulls.list", json!({})).unwrap();
    pulls["pulls"].get(0).cloned().unwrap_or_default()
}

/// Waits for the end of the one download.
fn finished(daemon: &Daemon) {
    let mut connection = daemon.connect();
    if connection.call("pulls.subscribe", json!({ "model": "org/name" })).is_err() {
        return;
    }
    loop {
        let pull = &connection.event()["pull"];
        match pull["state"].as_str().unwrap() {
            "done" => return,
            "failed" | "paused" | "cancelled" => panic!("{pull}"),
            _ => {}
        }
    }
}

#[test]
fn a_gigabyte_survives_ten_kills_and_no_byte_comes_twice() {
    const WEIGHTS: u64 = 1 << 30;
    let (hub, mut daemon) = daemon(WEIGHTS);
    // So that the daemon keeps up: what lies in the system's buffers when it is killed was sent and is lost.
    hub.slow(5 << 20);
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    let mut moments: Vec<u64> =
        (0..10_u64).map(|kill| RandomState::new().hash_one(kill) % (WEIGHTS * 9 / 10)).collect();
    moments.sort_unstable();
    for (kill, moment) in moments.iter().enumerate() {
        until("it is far enough", || pull(&daemon)["done_bytes"].as_u64().is_some_and(|done| done >= *moment));
        let before = pull(&daemon)["done_bytes"].as_u64().unwrap();
        daemon.signal(Signal::KILL);
        daemon = daemon.again();
        let after = pull(&daemon)["done_bytes"].as_u64().unwrap();
        assert!(after >= before, "kill {kill} of {moments:?}: {after} bytes after {before}");
        let listed = daemon.call("models.list", json!({})).unwrap();
        assert_eq!(listed, json!({ "models": [] }), "nothing is installed that is not whole");
    }
    finished(&daemon);
    let verified = daemon.call("models.verify", json!({ "model": "org/name" })).unwrap();
    assert_eq!((&verified["ok"], &verified["against"]), (&json!(true), &json!("manifest")), "{verified}");
    let sent = hub.sent(NAME);
    println!("{sent} bytes were sent of {WEIGHTS}, with kills at {moments:?}");
    assert!((WEIGHTS..=WEIGHTS + WEIGHTS / 100).contains(&sent), "{sent} bytes sent, kills at {moments:?}");
}

#[test]
fn a_pull_goes_on_without_its_client_and_is_told_to_all() {
    let (hub, daemon) = daemon(8 << 20);
    hub.slow(1 << 20);
    let mut follower = daemon.connect();
    follower.call("models.subscribe", json!({})).unwrap();
    let mut client = daemon.connect();
    let begun = client.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    assert_eq!(begun["model"], "org/name");
    drop(client);
    let added = follower.event_of("added");
    assert_eq!((&added["model"]["id"], &added["model"]["is_installed"]), (&json!("org/name"), &json!(true)));
    assert!(added["model"]["revision"].is_string(), "{added}");
    loop {
        let event = follower.event_of("pull");
        if event["pull"]["state"] == "done" {
            break;
        }
    }
    assert_eq!(daemon.call("pulls.list", json!({})).unwrap(), json!({ "pulls": [] }));
}

#[test]
fn a_revision_that_does_not_exist_is_in_nobodys_way() {
    let (hub, daemon) = daemon(8 << 20);
    let begin = |revision: &str| daemon.call("pulls.start", json!({ "model": "org/name", "revision": revision }));
    begin("mian").unwrap();
    until("it fails", || pull(&daemon)["state"] == "failed");
    assert_eq!(pull(&daemon)["error"]["kind"], "repository_not_found");
    hub.slow(1 << 20);
    begin("main").unwrap();
    // One that is under way is not thrown away for another.
    until("something is there", || pull(&daemon)["done_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    let refused = begin("mian").unwrap_err()["message"].clone();
    assert!(refused.as_str().unwrap().contains("`talkiectl pulls cancel org/name`"), "{refused}");
    hub.slow(1 << 30);
    finished(&daemon);
}

#[test]
fn pulls_are_paused_resumed_and_cancelled_by_anybody() {
    let (hub, daemon) = daemon(8 << 20);
    hub.fail(Fault::always(Match::File(NAME.into()), Kind::Stall(1 << 20)));
    let start = || daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    start();
    until("some came", || pull(&daemon)["done_bytes"].as_u64().is_some_and(|done| done >= 1 << 20));
    let paused = daemon.call("pulls.pause", json!({ "model": "org/name" })).unwrap();
    assert_eq!(paused["state"], "paused");
    let storage = daemon.call("models.storage", json!({})).unwrap();
    assert_eq!(storage["pulls"][0]["model"], "org/name");
    assert!(storage["used_bytes"].as_u64().unwrap() >= 1 << 20, "{storage}");
    hub.heal();
    daemon.call("pulls.resume", json!({ "model": "org/name" })).unwrap();
    finished(&daemon);
    daemon.call("models.delete", json!({ "model": "org/name" })).unwrap();
    hub.fail(Fault::always(Match::File(NAME.into()), Kind::Stall(1 << 20)));
    start();
    until("some came", || pull(&daemon)["done_bytes"].as_u64().is_some_and(|done| done >= 1 << 20));
    assert_eq!(daemon.call("pulls.cancel", json!({ "model": "org/name" })).unwrap()["state"], "cancelled");
    for method in ["pulls.pause", "pulls.resume", "pulls.cancel"] {
        let error = daemon.call(method, json!({ "model": "org/name" })).unwrap_err();
        assert_eq!(error["data"]["kind"], "pull_not_found", "{method}: {error}");
    }
    assert_eq!(daemon.call("models.storage", json!({})).unwrap()["used_bytes"], 0);
}

#[test]
fn a_disk_that_fills_up_in_the_middle_loses_nothing() {
    const WEIGHTS: u64 = 64 << 20;
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(WEIGHTS, 3));
    // No file may grow beyond 10 MiB, which is an error of writes as a full disk is.
    hub.slow(4 << 20);
    let daemon = Start::fake().args(&["--hub", &hub.endpoint()]).with_files_up_to(10 << 20).run();
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    until("it fails", || pull(&daemon)["state"] == "failed");
    let failed = pull(&daemon);
    assert_eq!(failed["error"]["kind"], "disk_full", "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("make room"), "{failed}");
    assert!(failed["done_bytes"].as_u64().unwrap() > 0, "{failed}");
    assert_eq!(daemon.call("daemon.ping", json!({})).unwrap()["protocol"], 1);
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
    let kept = failed["done_bytes"].as_u64().unwrap();
    daemon.call("pulls.resume", json!({ "model": "org/name" })).unwrap();
    until("it fails again", || pull(&daemon)["state"] == "failed");
    assert!(pull(&daemon)["done_bytes"].as_u64().unwrap() >= kept, "what came is kept");
}

#[test]
fn a_token_is_sent_to_the_hub_alone_and_never_told() {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(1 << 20, 3).gated("hf_secret"));
    let daemon = Start::fake().args(&["--hub", &hub.endpoint()]).env("HF_TOKEN", "hf_secret").run();
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    finished(&daemon);
    let requests = hub.requests();
    assert!(requests.iter().filter(|request| !request.is_file_host).all(|request| request.has_token), "{requests:?}");
    assert!(requests.iter().any(|request| request.is_file_host));
    assert!(!requests.iter().any(|request| request.is_file_host && request.has_token), "{requests:?}");
    let folder = daemon.home.path().join("Models/MLX/org_name");
    let manifest = fs::read_to_string(folder.join("talkied.json")).unwrap();
    let status = daemon.call("daemon.status", json!({})).unwrap().to_string();
    assert!(!manifest.contains("hf_secret") && !status.contains("hf_secret"));
}

#[test]
fn a_daemon_that_is_told_to_end_while_it_downloads_ends_at_once() {
    let (hub, mut daemon) = daemon(8 << 20);
    hub.fail(Fault::always(Match::File(NAME.into()), Kind::Stall(1 << 20)));
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    until("some came", || pull(&daemon)["done_bytes"].as_u64().is_some_and(|done| done >= 1 << 20));
    let begin = std::time::Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(20), "far below the patience with a server that stalls");
    hub.heal();
    let daemon = daemon.again();
    finished(&daemon);
}

/// A download that stops in its middle until the hub is healed; what came is told.
fn halfway(start: Start) -> (Hub, Daemon, u64) {
    const WEIGHTS: u64 = 64 << 20;
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(WEIGHTS, 3));
    hub.fail(Fault::always(Match::File(NAME.into()), Kind::Stall(4 << 20)));
    let daemon = start.args(&["--hub", &hub.endpoint()]).run();
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    until("some came", || pull(&daemon)["done_bytes"].as_u64().is_some_and(|done| done >= 4 << 20));
    (hub, daemon, WEIGHTS)
}

/// After what was wrong is mended: the download ends well, and nothing of the weights has come twice.
fn mended(hub: &Hub, daemon: &Daemon, weights: u64) {
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
    daemon.call("pulls.resume", json!({ "model": "org/name" })).unwrap();
    finished(daemon);
    assert_eq!(daemon.call("models.verify", json!({ "model": "org/name" })).unwrap()["ok"], true);
    // What lay in the system's buffers when connections were left.
    assert!((weights..=weights + (4 << 20)).contains(&hub.sent(NAME)), "{} of {weights}", hub.sent(NAME));
}

#[test]
fn permissions_that_change_in_the_middle_lose_nothing() {
    let (hub, daemon, weights) = halfway(Start::fake().bound_by_permissions());
    let folder = daemon.home.path().join("Models/MLX/.pulls/org_name");
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    hub.heal();
    until("it fails", || pull(&daemon)["state"] == "failed");
    let failed = pull(&daemon);
    assert_eq!(failed["error"]["kind"], "storage_failed", "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("Permission denied"), "{failed}");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    mended(&hub, &daemon, weights);
}

#[test]
fn a_disk_that_is_taken_away_in_the_middle_loses_nothing() {
    let (hub, daemon, weights) = halfway(Start::fake());
    let (library, away) = (daemon.home.path().join("Models/MLX"), daemon.home.path().join("away"));
    fs::rename(&library, &away).unwrap();
    hub.heal();
    until("it fails", || pull(&daemon)["state"] == "failed");
    let failed = pull(&daemon);
    assert_eq!(failed["error"]["kind"], "storage_failed", "{failed}");
    assert_eq!(daemon.call("models.list", json!({})).unwrap(), json!({ "models": [] }));
    assert!(!library.exists(), "a folder in the place of the disk would keep it from coming back");
    fs::rename(&away, &library).unwrap();
    mended(&hub, &daemon, weights);
}

#[test]
fn a_proxy_is_gone_through() {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(1 << 20, 3));
    let proxy = Proxy::start(&hub);
    // A name that the proxy alone can find.
    let daemon = Start::fake().args(&["--hub", "http://hub.invalid"]).env("http_proxy", &proxy.address).run();
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    finished(&daemon);
    let asked = proxy.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|host| host == "hub.invalid"), "{asked:?}");
    assert!(asked.iter().any(|host| host.starts_with("127.0.0.1:")), "files too: {asked:?}");
}

#[test]
fn a_hub_over_tls_is_asked_if_its_certificate_is_trusted() {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(1 << 20, 3));
    let proxy = Proxy::with_tls(&hub);
    let trusted = tempfile::NamedTempFile::new().unwrap();
    fs::write(trusted.path(), &proxy.certificate).unwrap();
    let begin = |start: Start| {
        let daemon = start.args(&["--hub", &proxy.address]).run();
        daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
        daemon
    };
    let daemon = begin(Start::fake().env("SSL_CERT_FILE", trusted.path().to_str().unwrap()));
    finished(&daemon);
    assert_eq!(daemon.call("models.verify", json!({ "model": "org/name" })).unwrap()["ok"], true);
    let daemon = begin(Start::fake());
    until("it says why it waits", || pull(&daemon)["error"].is_object());
    let waiting = pull(&daemon);
    assert_eq!(waiting["error"]["kind"], "hub_unavailable", "{waiting}");
    assert!(waiting["error"]["message"].as_str().unwrap().contains("certificate"), "{waiting}");
}
