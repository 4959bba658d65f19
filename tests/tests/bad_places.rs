//! Homes and sockets in places where they cannot be: each is an error that names the place and the way out.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::{SMALL_DISK, Start, program, unshared};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The program without anything that says where this user's things are.
fn homeless(name: &str) -> Command {
    let mut command = Command::new(program(name));
    for variable in ["HOME", "TALKIE_HOME", "TALKIE_SOCKET", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
        command.env_remove(variable);
    }
    command
}

#[test]
fn without_a_home_the_systems_list_of_users_is_asked() {
    // It knows whoever runs this, but on machines where it does not, both programs say what to set.
    let output = homeless("talkiectl").arg("ping").output().unwrap();
    let words = stderr(&output);
    let is_known = words.contains("talkied is not running");
    assert!(is_known || words.contains("set HOME, or TALKIE_HOME"), "{words}");
    let output = homeless("talkiectl").env("HOME", "").arg("ping").output().unwrap();
    assert_ne!(output.status.code(), Some(101), "{}", stderr(&output));
}

#[test]
fn a_user_whom_nobody_knows_is_told_what_to_set() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // A copy, for the program may lie where others may not go.
    let folder = tempfile::tempdir().unwrap();
    for (name, hint) in [("talkiectl", "TALKIE_HOME"), ("talkied", "TALKIE_HOME")] {
        let copy = folder.path().join(name);
        fs::copy(program(name), &copy).unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = Command::new(copy);
        for variable in ["HOME", "TALKIE_HOME", "TALKIE_SOCKET", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
            command.env_remove(variable);
        }
        if name == "talkiectl" {
            command.arg("ping");
        }
        let output = command.uid(54321).gid(54321).output().unwrap();
        let (out, words) = (output.status.code(), stderr(&output));
        assert!(out.is_some_and(|code| code != 0 && code != 101), "{name}: {out:?}");
        assert!(words.contains("home directory") && words.contains(hint), "{name}: {words}");
    }
}

#[test]
fn a_home_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for home in [file.join("home"), "/proc/talkie".into()] {
        let output = Command::new(program("talkied")).env("TALKIE_HOME", &home).env_remove("TALKIE_SOCKET").output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&home.display().to_string()), "{}", stderr(&output));
        let mut command = Command::new(program("talkiectl"));
        let output = command.arg("models").env("TALKIE_HOME", &home).env_remove("TALKIE_SOCKET").output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains(&home.display().to_string()), "{}", stderr(&output));
    }
}

/// A daemon whose home is on a small disk, and whose socket and models are elsewhere.
fn on_a_small_disk(elsewhere: &Path, script: &str) -> Option<Start> {
    let models = elsewhere.join("Models/MLX");
    crate::support::model::install(elsewhere, "test/echo", |_| {});
    let socket = elsewhere.join("t.sock");
    let start = Start::fake().args(&["--socket", socket.to_str()?, "--models", models.to_str()?]);
    start.on_a_small_disk(script)
}

const READ_ONLY: &str = "mount -o remount,ro \"$TALKIE_HOME\"";
const FULL: &str = "dd if=/dev/zero of=\"$TALKIE_HOME/fill\" bs=4k 2>/dev/null || true";

#[test]
fn a_daemon_answers_though_its_home_is_full_or_cannot_be_written() {
    for script in [READ_ONLY, FULL] {
        let elsewhere = tempfile::tempdir().unwrap();
        let Some(start) = on_a_small_disk(elsewhere.path(), script) else { return };
        let daemon = start.run_at(&elsewhere.path().join("t.sock"));
        let answer = daemon.call("generate.text", json!({ "prompt": "still" })).unwrap();
        assert_eq!(answer["text"], "still", "{script}");
        assert_eq!(daemon.call("daemon.ping", json!({})).unwrap()["protocol"], 1);
    }
}

#[test]
fn a_socket_on_a_disk_that_cannot_be_written_is_an_error_that_names_it() {
    let Some(start) = Start::fake().on_a_small_disk(READ_ONLY) else { return };
    let run = start.home().join("run");
    let (code, words) = start.fail();
    assert_eq!(code, 1);
    assert!(words.contains(&run.display().to_string()) && words.contains("Read-only file system"), "{words}");
}

#[test]
fn a_start_on_demand_in_a_home_that_cannot_be_written_says_what_to_do() {
    let home = tempfile::TempDir::with_prefix("t").unwrap();
    let Some(mut shell) = unshared() else { return };
    let script = format!("{SMALL_DISK}; {READ_ONLY}; exec \"$0\" models");
    shell.arg("-c").arg(script).arg(program("talkiectl")).env("TALKIE_HOME", home.path()).env_remove("TALKIE_SOCKET");
    let output = shell.output().unwrap();
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("logs") && words.contains("Read-only") && words.contains("TALKIE_HOME"), "{words}");
}

#[test]
fn a_socket_of_another_user_is_left_alone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let start = Start::fake();
    let run = start.home().join("run");
    fs::create_dir(&run).unwrap();
    std::os::unix::fs::chown(&run, Some(65534), None).unwrap();
    let (code, words) = start.fail();
    assert_eq!(code, 1);
    assert!(words.contains("belongs to user 65534") && words.contains("TALKIE_SOCKET"), "{words}");
}

#[test]
fn a_socket_of_another_user_is_not_talked_to() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let daemon = Start::fake().run();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("talkiectl");
    fs::copy(program("talkiectl"), &copy).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(copy);
    command.arg("ping").arg("--socket").arg(daemon.socket()).env("TALKIE_HOME", folder.path());
    let output = command.uid(65534).gid(65534).output().unwrap();
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("Permission denied") && words.contains("every user runs a talkied of their own"), "{words}");
}

#[test]
fn a_foreign_file_at_the_sockets_path_is_left_alone_by_both() {
    let start = Start::fake();
    let socket = start.home().join("run/talkied.sock");
    fs::create_dir(socket.parent().unwrap()).unwrap();
    fs::write(&socket, "precious").unwrap();
    let mut command = Command::new(program("talkiectl"));
    command.arg("models").env("TALKIE_HOME", start.home()).env_remove("TALKIE_SOCKET");
    let words = stderr(&command.output().unwrap());
    assert!(words.contains("no socket lies there") && words.contains("move it away"), "{words}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    let (code, words) = start.fail();
    assert!(code == 1 && words.contains("no socket lies there"), "{words}");
}

#[test]
fn a_socket_path_that_is_too_long_is_explained_by_the_client_too() {
    let path = format!("/tmp/{}/t.sock", "x".repeat(120));
    let mut command = Command::new(program("talkiectl"));
    let words = stderr(&command.args(["models", "--socket", &path]).output().unwrap());
    assert!(words.contains("bytes") && words.contains("set TALKIE_SOCKET to a shorter path"), "{words}");
}
