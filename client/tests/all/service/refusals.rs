use std::fs;

use super::{User, good};
use crate::fake::{Ended, run};

/// Fails, and says these things.
fn bad(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
}

const NOT_LOADED: &str = "case $1 in print) echo 'Could not find service' >&2; exit 113;; esac\n";

#[test]
fn bootstrap_failed_5_says_what_it_may_be() {
    let script = "case $1 in bootstrap) echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5;; esac";
    let user = User::of("launchd", &format!("{NOT_LOADED}{script}"));
    let ended = user.install(&[]);
    bad(&ended, 1, &["`launchctl bootstrap gui/", "Bootstrap failed: 5", "service install --force", "plutil -lint"]);
}

#[test]
fn a_mac_without_a_desktop_session_is_told_before_anything_is_written() {
    let script = "echo 'Domain does not support specified action' >&2; exit 125";
    let user = User::of("launchd", script);
    bad(&user.install(&[]), 1, &["ssh", "on demand"]);
    assert!(!user.plist().exists());
    bad(&user.service(&["status"]), 1, &["ssh"]);
}

#[test]
fn a_machine_without_a_user_session_is_told_before_anything_is_written() {
    let script = "echo 'Failed to connect to bus: No medium found' >&2; exit 1";
    let user = User::of("systemd", script);
    bad(&user.install(&[]), 1, &["Failed to connect to bus", "loginctl enable-linger", "XDG_RUNTIME_DIR"]);
    assert!(!user.unit("talkied.socket").exists());
}

#[test]
fn a_machine_without_the_manager_is_told() {
    for (user, tool) in [(User::of_launchd(), "launchctl"), (User::of_systemd(), "systemctl")] {
        let mut command = user.command(&["status"]);
        command.env("PATH", "/nowhere");
        bad(&run(command), 1, &[&format!("failed to run {tool}")]);
    }
}

#[test]
fn masked_units_say_how_to_unmask_them() {
    let script = "case $2 in enable) echo 'Failed to enable unit: Unit file is masked.' >&2; exit 1;; esac";
    bad(&User::of("systemd", script).install(&[]), 1, &["systemctl --user unmask"]);
}

#[test]
fn what_is_not_installed_is_not_started() {
    for user in [User::of_launchd(), User::of_systemd()] {
        for command in ["start", "stop", "restart"] {
            bad(&user.service(&[command]), 4, &["not installed", "talkiectl service install"]);
        }
    }
}

#[test]
fn no_home_is_said() {
    let user = User::of_systemd();
    let mut command = user.command(&["install"]);
    command.env("HOME", "not/absolute").env("TALKIE_HOME", user.path("home"));
    bad(&run(command), 2, &["no home directory is known", "set HOME"]);
}

#[test]
fn only_a_whole_path_of_a_daemon_that_runs_is_taken() {
    let user = User::of_systemd();
    user.program("bin/other", "echo other 1.0");
    fs::write(user.path("bin/text"), "no program").unwrap();
    let path = |name: &str| user.path(name).display().to_string();
    for (program, words) in [
        ("bin/talkied".to_owned(), "not an absolute path"),
        (path("bin/none"), "does not run"),
        (path("bin/text"), "does not run"),
        (path("bin/other"), "another program"),
    ] {
        bad(&user.service(&["install", "--program", &program]), 2, &[&program, words, "--program"]);
    }
    assert!(!user.unit("talkied.socket").exists());
}

#[test]
fn doubtful_installations_are_noted() {
    let user = User::of_systemd();
    fs::create_dir_all(user.path("target/debug")).unwrap();
    user.program("target/debug/talkied", "echo talkied 99.0.0");
    let mut command = user.command(&["install", "--program"]);
    command.arg(user.path("target/debug/talkied")).env("TALKIE_KEY_GEMINI", "secret");
    let ended = run(command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for words in ["is version 99.0.0", "where cargo builds", "keys in TALKIE_KEY_"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    let unit = fs::read_to_string(user.unit("talkied.service")).unwrap();
    assert!(!unit.contains("secret"), "{unit}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let user = User::of_launchd();
    fs::write(user.path("Library"), "a file").unwrap();
    bad(&user.install(&[]), 1, &["failed to make the folder", "Library"]);
    assert_eq!(good(user.service(&["uninstall"])), "talkied is not installed as a service: nothing was changed\n");
}
