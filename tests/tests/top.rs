//! The live view, at a terminal and for programs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::cli::{run, stderr, stdout};
use crate::support::{Daemon, Start, until};
use crate::terminal::{Seen, Terminal};

/// A daemon with a model that takes its time.
fn slow() -> Daemon {
    let slow = |files: &mut crate::support::model::Files| {
        files.config["fake"] = json!({ "token_ms": 20, "repeat": 1000 });
    };
    Start::fake().model("test/slow", slow).run()
}

const LIVE: [&str; 3] = ["top", "--interval", "0.1"];

#[test]
fn a_terminal_sees_one_picture_after_the_other_and_q_gives_it_back() {
    let daemon = slow();
    let mut terminal = Terminal::new(&daemon.talkiectl(&LIVE), 120, Seen::Escapes);
    terminal.sees("\u{1b}[?1049h");
    terminal.sees("TOKENS/S");
    assert!(!terminal.echoes(), "what is typed is for the program");
    let mut client = daemon.connect();
    client.stream(json!({ "prompt": "on and on" }));
    for _ in 0..2 {
        terminal.sees("busy");
        terminal.sees("writing");
    }
    drop(client);
    terminal.sees("warm");
    terminal.keys("x");
    terminal.keys("q");
    let (code, seen) = terminal.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(
        seen.contains("\u{1b}[?1049l") && seen.contains("\u{1b}[?25h"),
        "the screen and the cursor are back: {seen:?}"
    );
    assert!(terminal.echoes(), "the terminal is as it was");
}

#[test]
fn control_c_ends_it_and_a_signal_gives_the_terminal_back() {
    let daemon = slow();
    let mut terminal = Terminal::new(&daemon.talkiectl(&LIVE), 80, Seen::Escapes);
    terminal.sees("TOKENS/S");
    terminal.control('c');
    assert_eq!(terminal.ends().0, 0);
    assert!(terminal.echoes());
    let mut terminal = Terminal::new(&daemon.talkiectl(&LIVE), 80, Seen::Escapes);
    terminal.sees("TOKENS/S");
    terminal.signal(rustix::process::Signal::TERM);
    assert!(terminal.ends().1.contains("\u{1b}[?1049l"));
    assert!(terminal.echoes());
}

#[test]
fn a_terminal_of_twenty_columns_holds_it() {
    let daemon = slow();
    daemon.call("models.load", json!({ "model": "test/slow" })).unwrap();
    let mut terminal = Terminal::new(&daemon.talkiectl(&LIVE), 20, Seen::Text);
    let picture = terminal.sees("waiting 0") + &terminal.sees("waiting 0");
    let wide: Vec<&str> = picture.lines().filter(|line| line.trim_end().chars().count() > 20).collect();
    assert_eq!(wide, [] as [&str; 0]);
    terminal.keys("q");
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn a_daemon_that_ends_is_waited_for() {
    let mut daemon = slow();
    let mut terminal = Terminal::new(&daemon.talkiectl(&LIVE), 80, Seen::Text);
    terminal.sees("TOKENS/S");
    daemon.signal(rustix::process::Signal::TERM);
    terminal.sees("talkied has ended; waiting for it to come back");
    daemon = daemon.again();
    // The last of the old one, below that it has ended; then those of the new one, of which the second has rates.
    for _ in 0..3 {
        terminal.sees("TALKIED");
    }
    terminal.sees("0.0  ");
    terminal.keys("q");
    assert_eq!(terminal.ends().0, 0);
    drop(daemon);
}

#[test]
fn once_shows_what_runs_and_a_pipe_gets_one_picture() {
    let daemon = slow();
    let mut client = daemon.connect();
    client.stream(json!({ "prompt": "on and on" }));
    client.event_of("text");
    for more in [&["--once"][..], &[]] {
        let output = run(&daemon, &[&LIVE[..], more].concat(), "");
        let text = stdout(&output);
        assert_eq!((stderr(&output).as_str(), output.status.code()), ("", Some(0)));
        assert!(text.contains("test/slow") && text.contains("writing") && text.contains("req_"), "{text}");
        assert_eq!(text.matches("TALKIED").count(), 1, "{text}");
    }
}

#[test]
fn json_is_a_line_for_each_interval_with_the_rates_of_it() {
    let daemon = slow();
    let mut client = daemon.connect();
    client.stream(json!({ "prompt": "on and on", "trace_id": "memo" }));
    client.event_of("text");
    let mut command = daemon.talkiectl(&[&LIVE[..], &["--json"]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let views = [next(), next(), next()];
    for view in &views {
        assert!(view["rates"]["interval_ms"].as_u64().unwrap() >= 90, "{view}");
        assert_eq!(
            (&view["requests"][0]["trace_id"], &view["residents"][0]["model"]),
            (&json!("memo"), &json!("test/slow"))
        );
    }
    let rates = views.map(|view| view["rates"]["tokens_per_s"].as_f64().unwrap());
    assert!(rates.iter().any(|rate| *rate > 0.0), "a machine with much to do may make none for a while: {rates:?}");
    crate::support::signal_process(child.id(), rustix::process::Signal::INT);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (stderr(&ended).as_str(), ended.status.code()),
        ("", Some(0)),
        "who has seen enough was not interrupted"
    );
}

#[test]
fn it_starts_no_daemon_and_an_interval_is_a_number_of_seconds() {
    let daemon = slow();
    for bad in ["0", "0.05", "3601", "nan", "soon"] {
        let output = run(&daemon, &["top", "--once", "--interval", bad], "");
        assert_eq!(output.status.code(), Some(2), "{bad}");
        assert!(stderr(&output).contains("a number from 0.1 to 3600 is needed"), "{bad}: {}", stderr(&output));
    }
    daemon.call("daemon.shutdown", json!({})).unwrap();
    until("it has ended", || std::os::unix::net::UnixStream::connect(daemon.socket()).is_err());
    let output = run(&daemon, &["top"], "");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}
