//! The start of the daemon on demand. The fake daemon is a shell script, or this very test program.

use std::fs;
use std::io::ErrorKind;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use protocol::paths::Paths;
use protocol::rpc::DaemonClient;
use rustix::process::{getpgid, getpid, getsid};
use talkiectl::{Client, Error, start};
use tempfile::TempDir;

fn paths(home: &TempDir) -> Paths {
    Paths { home: home.path().join("home"), socket: home.path().join("talkied.sock") }
}

fn script(home: &TempDir, text: &str) -> PathBuf {
    let path = home.path().join("talkied");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path
}

/// A script that runs [`serve_one_ping`] of this program as the daemon.
fn daemon(home: &TempDir) -> PathBuf {
    let this = std::env::current_exe().expect("a program").display().to_string();
    script(home, &format!("FAKE_DAEMON=1 exec '{this}' --exact start::serve_one_ping --nocapture"))
}

/// No test of its own: the daemon of the tests below, when they start this program as such.
#[test]
fn serve_one_ping() {
    if std::env::var_os("FAKE_DAEMON").is_none() {
        return;
    }
    println!("home {}", std::env::var("TALKIE_HOME").expect("the client names the home"));
    let listener = UnixListener::bind(std::env::var_os("TALKIE_SOCKET").expect("and the socket")).expect("a socket");
    let (stream, _) = listener.accept().expect("a connection");
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).expect("a call");
    let session = getsid(None).expect("a session").as_raw_nonzero();
    // The version carries what the test wants to know of this process.
    let version = format!("session {session} group {}", getpgid(None).expect("a group").as_raw_nonzero());
    let pid = getpid().as_raw_nonzero();
    let result = format!(r#"{{"version":"{version}","protocol":1,"pid":{pid}}}"#);
    writeln!(&stream, r#"{{"jsonrpc":"2.0","id":0,"result":{result}}}"#).expect("the client reads");
}

#[tokio::test]
async fn a_daemon_is_started_detached_and_reached() {
    let home = TempDir::new().expect("a directory");
    let paths = paths(&home);
    let client = Client::connect_or_start(&paths, &daemon(&home)).await.expect("it starts");
    let pong = client.ping().await.expect("it answers");
    assert_eq!(pong.version, format!("session {0} group {0}", pong.pid), "a session of its own");

    let log = start::log(&paths);
    assert_eq!(fs::metadata(&log).expect("a log").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&paths.home).expect("a home").permissions().mode() & 0o777, 0o700);
    let text = fs::read_to_string(&log).expect("a log");
    assert!(text.contains(&format!("home {}", paths.home.display())), "{text}");
}

#[tokio::test]
async fn a_daemon_that_runs_is_not_started_again() {
    let home = TempDir::new().expect("a directory");
    let paths = paths(&home);
    let _listener = UnixListener::bind(&paths.socket).expect("a socket");
    Client::connect_or_start(&paths, Path::new("/nowhere/talkied")).await.expect("it is reached");
    assert!(!paths.home.exists());
}

async fn failed_start(home: &TempDir, program: &Path) -> (String, String) {
    match Client::connect_or_start(&paths(home), program).await {
        Err(Error::NotStarted { reason, tail, .. }) => (reason, tail),
        other => panic!("it cannot start: {other:?}"),
    }
}

#[tokio::test]
async fn an_early_end_shows_the_end_of_its_own_log() {
    let home = TempDir::new().expect("a directory");
    fs::create_dir_all(paths(&home).home.join("logs")).expect("a directory");
    fs::write(start::log(&paths(&home)), "of an earlier start\n").expect("a log");
    let program =
        script(&home, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; echo bad config >&2; exit 3");
    let (reason, tail) = failed_start(&home, &program).await;
    assert!(reason.ends_with("ended at once (exit status: 3)"), "{reason}");
    assert_eq!(tail.lines().count(), 10);
    assert!(tail.starts_with("line 4\n") && tail.ends_with("line 12\nbad config"), "{tail}");
}

#[tokio::test]
async fn a_log_without_end_is_begun_anew() {
    let home = TempDir::new().expect("a directory");
    fs::create_dir_all(paths(&home).home.join("logs")).expect("a directory");
    fs::write(start::log(&paths(&home)), vec![b'x'; 5 << 20]).expect("a log");
    failed_start(&home, &script(&home, "echo only this")).await;
    assert_eq!(fs::read_to_string(start::log(&paths(&home))).expect("a log"), "only this\n");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let home = TempDir::new().expect("a directory");
    let (reason, tail) = failed_start(&home, Path::new("/nowhere/talkied")).await;
    assert_eq!((&*reason, &*tail), ("/nowhere/talkied is neither beside this program nor on the PATH", ""));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_listen_is_given_up() {
    let home = TempDir::new().expect("a directory");
    // Waits until the test is over, and not a moment longer.
    let fifo = home.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    let program = script(&home, &format!("echo loading; read line < '{}'", fifo.display()));
    let (reason, _) = failed_start(&home, &program).await;
    assert!(reason.ends_with("does not listen after 10 s"), "{reason}");
    fs::File::options().write(true).open(fifo).expect("the daemon waits at the other end");
}

#[tokio::test]
async fn the_loser_of_two_starts_reaches_the_winner() {
    let home = TempDir::new().expect("a directory");
    let paths = paths(&home);
    // This daemon ends at once, as one does that finds another's lock; the other listens a moment later.
    let program = script(&home, &format!("touch '{}'", home.path().join("ended").display()));
    let (ended, socket) = (home.path().join("ended"), paths.socket.clone());
    let winner = tokio::task::spawn_blocking(move || {
        while !ended.exists() {
            std::thread::yield_now();
        }
        UnixListener::bind(socket).expect("a socket")
    });
    Client::connect_or_start(&paths, &program).await.expect("the winner is reached");
    drop(winner.await);
}

#[test]
fn talkiectl_starts_what_lies_beside_it() {
    let home = TempDir::new().expect("a directory");
    let program = home.path().join("talkiectl");
    fs::copy(env!("CARGO_BIN_EXE_talkiectl"), &program).expect("a copy");
    script(&home, "echo no models; exit 1");
    let mut command = std::process::Command::new(program);
    command.arg("models").env("TALKIE_HOME", home.path()).env_remove("TALKIE_SOCKET");
    // A child that another test forks in this moment holds the copy open for writing until it runs its own program.
    let output = loop {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => break output.expect("the program runs"),
        }
    };
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(3));
    let expected = format!(
        "error: talkied did not start: {0}/talkied ended at once (exit status: 1)\n  | no models\nhint: its whole log is {0}/logs/start.log\n",
        home.path().display()
    );
    assert_eq!(stderr, expected);
}
