//! What a person sees: the program on a real terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

use crate::fake::{Fake, pull};

/// A terminal of that width: where it is read, and where programs write.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&screen).expect("its rights");
    unlockpt(&screen).expect("its lock");
    let name = ptsname(&screen, Vec::new()).expect("its name");
    let program = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other side");
    tcsetwinsize(&program, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("its size");
    (screen.into(), program)
}

/// What a command writes to a terminal of that width until it ends, with its control characters.
fn seen(fake: &Fake, columns: u16, arguments: &[&str]) -> String {
    let (mut screen, program) = terminal(columns);
    let side = || Stdio::from(program.try_clone().expect("a copy"));
    let mut command = fake.talkiectl(arguments);
    let mut child = command.stdout(side()).stderr(side()).spawn().expect("the program runs");
    drop((command, program));
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // The end of a terminal that nobody holds any more is an error on Linux and nothing elsewhere.
    while let Ok(read @ 1..) = screen.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    String::from_utf8(bytes).expect("text")
}

fn pulling() -> Fake {
    let file = |path: &str, done: u64| json!({"path": path, "done_bytes": done, "total_bytes": 600, "verified": false});
    let files = [file("model-00001-of-00002.safetensors", 300), file("model-00002-of-00002.safetensors", 0)];
    let halfway = json!({
        "done_bytes": 300, "total_bytes": 1200, "bytes_per_second": 100, "time_left_ms": 9000, "files": files,
    });
    let sent: [Value; 2] = [pull("downloading", &halfway), pull("done", &json!({"done_bytes": 1200}))];
    Fake::new(move |call| match call.method() {
        "pulls.start" => call.result(&pull("queued", &json!({}))),
        "pulls.subscribe" => {
            call.subscribed();
            for pull in &sent {
                call.event(&json!({"pull": pull}));
            }
        }
        other => panic!("{other} was not expected"),
    })
}

#[test]
fn a_pull_has_a_bar_for_each_file_under_way_and_one_for_all() {
    let text = seen(&pulling(), 100, &["pull", "org/x"]);
    assert!(text.contains("model-00001-of-00002.safet █████░░░░░ 300 B of 600 B"), "{text:?}");
    assert!(text.contains("25 % of 1.2 kB, 100 B/s, 9.0 s left"), "{text:?}");
    assert!(!text.contains("model-00002"), "it has not begun: {text:?}");
    assert!(text.ends_with("org/x is installed: 1.2 kB\r\n"), "{text:?}");
}

#[test]
fn a_narrow_terminal_gets_words_that_do_not_wrap() {
    let text = seen(&pulling(), 20, &["pull", "org/x"]);
    assert!(text.contains("25 % of 1.2 kB, 100"), "{text:?}");
    assert!(!text.contains('█'), "{text:?}");
    let drawn = anstream::adapter::strip_str(&text).to_string();
    let (bars, _end) = drawn.split_once("org/x is installed").expect("the end");
    assert!(bars.split('\r').all(|rows| rows.chars().count().is_multiple_of(20)), "whole rows alone: {drawn:?}");
}

#[test]
fn wait_draws_nothing() {
    assert_eq!(seen(&pulling(), 80, &["pull", "org/x", "--wait"]), "org/x is installed: 1.2 kB\r\n");
}

#[test]
fn tables_on_a_narrow_terminal_are_blocks() {
    let listed = json!({"pulls": [pull("paused", &json!({"done_bytes": 300, "total_bytes": 1200}))]});
    let fake = Fake::new(move |call| call.result(&listed));
    let text = anstream::adapter::strip_str(&seen(&fake, 20, &["pulls"])).to_string();
    assert_eq!(text, "org/x\r\n  state paused\r\n  done 300 B\r\n  total 1.2 kB\r\n  rate –\r\n  left –\r\n");
}
