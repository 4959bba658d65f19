use super::*;
use crate::service::job::tests::{NASTY, nasty};

/// What systemd takes in the path of a program.
const FOLDER: &str = "a b & <c> %h %% $HOME ü 语 ;#@PROGRAM@";

/// A job with all of the escapes that units have.
fn job(place: &Path) -> Job {
    let folder = place.join(NASTY);
    Job { program: place.join(FOLDER).join("talkied"), socket: folder.join("s"), home: folder, ..nasty() }
}

/// `systemd-analyze` reads the units that were written, as systemd would, and says what it does not understand.
#[cfg(target_os = "linux")]
#[test]
fn systemd_understands_the_units_whatever_is_in_them() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    let place = tempfile::tempdir().unwrap();
    let job = job(place.path());
    std::fs::create_dir(place.path().join(FOLDER)).unwrap();
    std::fs::write(&job.program, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&job.program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let units = files(place.path(), &job).unwrap();
    for unit in &units {
        files::write(unit).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["--user", "--recursive-errors=no", "verify"])
        .args(units.iter().map(|unit| &unit.path))
        .env("XDG_RUNTIME_DIR", place.path())
        .output()
        .expect("systemd-analyze is needed on Linux (Debian: apt install systemd)");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert_eq!((verified.status.success(), &*said), (true, ""), "{units:#?}");
}

#[test]
fn installed_units_are_read_back_and_others_are_not() {
    let config = tempfile::tempdir().unwrap();
    let job = job(Path::new("/opt"));
    let units = files(config.path(), &job).unwrap();
    assert_eq!(read(config.path()), None);
    for unit in &units {
        files::write(unit).unwrap();
    }
    assert_eq!(read(config.path()), Some(Found { program: job.program, socket: job.socket }));
    std::fs::write(&units[0].path, units[0].text.replace("SocketMode=0600", "SocketMode=0666")).unwrap();
    assert_eq!(read(config.path()), None);
}

#[test]
fn a_program_that_systemd_would_not_run_is_refused() {
    for folder in ["a\"b", "a'b", "a\\b"] {
        let job = Job { program: Path::new("/opt").join(folder), ..nasty() };
        let error = files(Path::new("/c"), &job).unwrap_err();
        assert!(error.to_string().contains(folder) && error.hint.contains("--program"), "{error}");
    }
}

fn shown(socket: &str, service: &str) -> Loaded {
    let common = "LoadState=loaded\nNeedDaemonReload=no\nUnitFileState=enabled";
    parsed(&format!("Id=talkied.socket\n{socket}\n{common}\n\nId=talkied.service\n{service}\n{common}\n"))
}

#[test]
fn a_service_is_read_from_what_systemctl_shows() {
    let runs = shown("ActiveState=active", "ActiveState=active\nMainPID=42\nExecMainCode=0\nNRestarts=2");
    assert_eq!((runs.known, runs.listens, runs.at_login, runs.pid), (true, true, Some(true), Some(42)));
    assert_eq!(runs.last_end.as_deref(), Some("failed and was started again, 2 times in a row"));
    assert_eq!(runs.problem, None);
    let ended = shown("ActiveState=active", "ActiveState=inactive\nMainPID=0\nExecMainCode=1\nExecMainStatus=0");
    assert_eq!((ended.pid, ended.last_end.as_deref()), (None, Some("exit code 0")));
}

#[test]
fn what_keeps_it_from_running_is_told_with_the_way_out() {
    for (service, way_out) in [
        ("ActiveState=failed\nResult=start-limit-hit", "service start"),
        ("ActiveState=failed\nResult=exit-code\nExecMainStatus=78", "configuration"),
        ("ActiveState=failed\nResult=watchdog", "hung"),
        ("ActiveState=failed\nResult=core-dump", "core-dump"),
    ] {
        let problem = shown("ActiveState=active", service).problem.expect("there is one");
        assert!(problem.contains(way_out), "{service}: {problem}");
    }
    let masked = "Id=talkied.socket\nLoadState=loaded\n\nId=talkied.service\nLoadState=masked\n";
    assert!(parsed(masked).problem.is_some_and(|problem| problem.contains("systemctl --user unmask talkied.service")));
}

#[test]
fn nothing_is_known_of_units_that_are_not_there() {
    let absent =
        "LoadState=not-found\nActiveState=inactive\nNeedDaemonReload=no\nUnitFileState=\nMainPID=0\nExecMainCode=0";
    let loaded = parsed(&format!("Id=talkied.socket\n{absent}\n\nId=talkied.service\n{absent}\nNRestarts=0\n"));
    assert_eq!(loaded, Loaded { at_login: Some(false), ..Loaded::default() });
}

#[test]
fn every_known_refusal_says_the_way_out() {
    for (words, way_out) in [
        ("Failed to connect to bus: No medium found", "loginctl enable-linger"),
        ("Failed to connect to bus: $DBUS_SESSION_BUS_ADDRESS and $XDG_RUNTIME_DIR not defined", "XDG_RUNTIME_DIR"),
        ("Failed to start talkied.socket: Unit talkied.socket is masked.", "unmask"),
        ("talkied.service: Start request repeated too quickly.", "reset-failed"),
        ("talkied.socket: Failed to create listening socket: Address already in use", "TALKIE_SOCKET"),
        ("Failed to start talkied.service: Unit talkied.service not found.", "--force"),
        ("Job for talkied.service failed because a timeout was exceeded.", "journalctl"),
    ] {
        let hint = hint(words);
        assert!(hint.contains(way_out), "{words}: {hint}");
        assert!(!hint.contains("  "), "{hint}");
    }
}
