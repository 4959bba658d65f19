//! talkied under a real systemd: installed, activated by a first request, killed, hung, replaced under load, removed.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use serde_json::{Value, json};

use crate::support::systemd::Session;
use crate::support::{model, program, until};

/// Everything that a unit could misread.
const FOLDER: &str = "a b %h %% $HOME & ; ü";

/// Installs it, with the engine of the tests.
fn install(session: &Session, daemon: &Path, more: &[&str]) -> String {
    let mut command = session.command(program("talkiectl"), &["service", "install", "--program"]);
    command.arg(daemon).args(more);
    command.env("TALKIE_ENGINE", program("fake-engine")).env("TALKIE_CANDLE", session.home.path().join("none"));
    command.env("TALKIE_NO_KEYCHAIN", "true");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A session with talkied in it, and the program's path.
fn installed() -> Option<(Session, PathBuf)> {
    let session = Session::start()?;
    let folder = session.home.path().join(FOLDER);
    std::fs::create_dir(&folder).unwrap();
    let daemon = folder.join("talkied");
    symlink(program("talkied"), &daemon).unwrap();
    model::install(&session.home.path().join(".local/share/talkie"), "test/echo", |files| {
        files.config["fake"] = json!({ "token_ms": 2 });
    });
    let said = install(&session, &daemon, &[]);
    assert!(said.contains("systemd listens on"), "{said}");
    Some((session, daemon))
}

fn status(session: &Session) -> Value {
    serde_json::from_str(&session.good(&["service", "status", "--json"])).unwrap()
}

/// The process that serves now, by its own word.
fn pid(session: &Session) -> Value {
    serde_json::from_str::<Value>(&session.good(&["--no-start", "ping", "--json"])).unwrap()["pid"].clone()
}

#[test]
fn systemd_runs_it_from_the_first_request_to_the_last() {
    let Some((session, daemon)) = installed() else { return };
    let found = status(&session);
    assert_eq!(found["problems"], json!([]), "{found:#}");
    for so in ["installed", "current", "loaded", "listens", "at_login", "running"] {
        assert_eq!(found[so], true, "{so}: {found:#}");
    }
    assert_eq!((found["program"].as_str(), found["socket"].as_str()), (daemon.to_str(), session.socket().to_str()));
    assert!(install(&session, &daemon, &[]).contains("nothing was changed"));

    session.systemctl(&["stop", "talkied.service"]);
    assert_eq!(status(&session)["running"], false);
    assert_eq!(session.good(&["--no-start", "generate", "first"]), "first\n", "the request starts it");

    let before = pid(&session);
    session.systemctl(&["kill", "--signal=KILL", "talkied.service"]);
    until("another process serves", || pid(&session) != before);
    assert_eq!(session.property("NRestarts"), "1", "systemd started it, and no client");

    session.good(&["service", "stop"]);
    assert_eq!(session.talkiectl(&["--no-start", "ping"]).status.code(), Some(3));
    session.good(&["service", "start"]);
    assert_eq!(session.good(&["--no-start", "generate", "again"]), "again\n");

    let said = session.good(&["service", "uninstall"]);
    assert!(said.contains(".local/share/talkie/Models/MLX"), "{said}");
    assert_eq!(session.talkiectl(&["--no-start", "ping"]).status.code(), Some(3));
    assert!(!session.home.path().join(".config/systemd/user/talkied.service").exists());
    assert_eq!(status(&session)["loaded"], false);
    assert!(session.home.path().join(".local/share/talkie/Models/MLX/test_echo").exists());
}

#[test]
fn it_is_replaced_under_load_and_no_request_fails() {
    let Some((session, daemon)) = installed() else { return };
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = || {
        while !over.load(Ordering::Relaxed) {
            let output = session.talkiectl(&["--no-start", "generate", "never lost"]);
            let words = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"never lost\n"[..]), "{words}");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for times in 1..=5 {
            until("more requests are answered", || {
                answered.load(Ordering::Relaxed) >= times * 8 || askers.iter().any(ScopedJoinHandle::is_finished)
            });
            let before = pid(&session);
            if times % 2 == 0 {
                drop(install(&session, &daemon, &["--force"]));
            } else {
                session.good(&["service", "restart"]);
            }
            assert_ne!(pid(&session), before, "another process serves");
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) >= 40);
}

#[test]
fn one_that_hangs_is_ended_and_started_again() {
    let Some((session, _)) = installed() else { return };
    let more = session.home.path().join(".config/systemd/user/talkied.service.d");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("quick.conf"), "[Service]\nWatchdogSec=1\n").unwrap();
    session.systemctl(&["daemon-reload"]);
    session.good(&["service", "restart"]);
    let mut signs = vec![session.property("WatchdogTimestampMonotonic")];
    until("it gives signs of life", || {
        let last = session.property("WatchdogTimestampMonotonic");
        if signs.last() != Some(&last) {
            signs.push(last);
        }
        signs.len() > 6
    });
    assert_eq!(session.property("NRestarts"), "0", "for longer than systemd waits for one");
    let before = session.property("MainPID");
    session.systemctl(&["kill", "--signal=STOP", "talkied.service"]);
    until("systemd starts another", || !["0", &before].contains(&&*session.property("MainPID")));
    assert_eq!(session.property("NRestarts"), "1");
}

#[test]
fn a_daemon_started_on_demand_makes_room_for_systemd() {
    let Some((session, daemon)) = installed() else { return };
    session.good(&["service", "uninstall"]);
    let mut command = session.command(program("talkiectl"), &["models"]);
    command.env("TALKIE_ENGINE", program("fake-engine")).env("TALKIE_NO_KEYCHAIN", "true");
    assert!(command.status().unwrap().success());
    let before = pid(&session);
    install(&session, &daemon, &[]);
    assert_ne!(pid(&session), before);
    assert_eq!(status(&session)["running"], true);
}
