//! What talkiectl writes depends on where it writes: terminals wide and narrow, with and without colours, pipes that
//! nobody reads.

use std::process::{Command, Stdio};

use crate::cli::{finish, stderr, stdout};
use crate::support::{Daemon, Start};
use crate::terminal::{Seen, Terminal};

fn daemon() -> Daemon {
    Start::fake().model("mlx-community/Llama-3.2-3B-Instruct-4bit", |_| {}).run()
}

/// What a command shows at a terminal.
fn shown(command: &Command, columns: u16, seen: Seen) -> (i32, String) {
    Terminal::new(command, columns, seen).ends()
}

/// Every command that needs nothing, and the help of every one.
fn commands(daemon: &Daemon) -> Vec<Vec<String>> {
    let pages = daemon.talkiectl(&["man", "--json", "--dir", daemon.home.path().to_str().unwrap()]);
    let told: serde_json::Value = serde_json::from_str(&stdout(&finish(pages, ""))).unwrap();
    let words = |page: &serde_json::Value| -> Vec<String> {
        let words = page["command"].as_str().unwrap().split(' ').skip(1);
        words.map(str::to_owned).chain(["--help".to_owned()]).collect()
    };
    let helps = told["pages"].as_array().unwrap().iter().map(words);
    let top = ["top", "--once", "--interval", "0.1"];
    let tables = ["models", "ps", "catalogue", "pulls", "du", "providers", "usage", "status", "events", "ping"];
    helps.chain(tables.map(|table| vec![table.to_owned()])).chain([top.map(str::to_owned).to_vec()]).collect()
}

#[test]
fn twenty_columns_hold_every_table_and_every_help() {
    let daemon = daemon();
    let mut wide = Vec::new();
    for words in commands(&daemon) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, text) = shown(&daemon.talkiectl(&words), 20, Seen::Text);
        assert_eq!(code, 0, "{words:?}: {text}");
        // A help is wrapped, but for what is made to be copied: usages, options and values; so are tables, and sentences
        // wrap by themselves. Nothing is set so far in that it would.
        let is_copied = |line: &str| {
            let is_set_in = line.len() - line.trim_start().len() > 12;
            let is_option =
                ["-", "Usage:", "Possible values:"].iter().any(|start| line.trim_start().starts_with(start));
            !is_set_in
                && (is_option || !words.contains(&"--help") || line.split_whitespace().any(|word| word.len() > 8))
        };
        let wider = text.lines().map(str::trim_end).filter(|line| line.chars().count() > 20 && !is_copied(line));
        wide.extend(wider.map(|line| format!("{words:?}: {line}")));
    }
    assert_eq!(wide, [] as [String; 0]);
}

#[test]
fn colours_are_for_terminals_and_for_those_who_force_them() {
    let daemon = daemon();
    let has_colours = |text: &str| text.contains('\u{1b}');
    let with = |name: &str, value: &str| {
        let mut command = daemon.talkiectl(&["models"]);
        command.env(name, value);
        command
    };
    assert!(has_colours(&shown(&daemon.talkiectl(&["models"]), 80, Seen::Escapes).1));
    for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        let text = shown(&with(name, value), 80, Seen::Escapes).1;
        assert!(!has_colours(&text), "{name}: {text:?}");
    }
    assert!(!has_colours(&stdout(&finish(daemon.talkiectl(&["models"]), ""))));
    assert!(has_colours(&stdout(&finish(with("CLICOLOR_FORCE", "1"), ""))));
    let failure = daemon.talkiectl(&["load", "no/such"]);
    assert!(has_colours(&shown(&failure, 80, Seen::Escapes).1));
    assert!(stderr(&finish(failure, "")).starts_with("error: "));
}

#[test]
fn a_pipe_that_nobody_reads_ends_every_command_quietly() {
    let daemon = daemon();
    for words in commands(&daemon) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = daemon.talkiectl(&words);
        let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((stderr(&output).as_str(), output.status.code()), ("", Some(0)), "{words:?}");
    }
}

#[test]
fn quiet_commands_write_nothing_beside_their_result() {
    let daemon = daemon();
    for words in [&["generate", "hi", "-n", "1"][..], &["load", "mlx-community/Llama-3.2-3B-Instruct-4bit"]] {
        let output = finish(daemon.talkiectl(&[words, &["--quiet"]].concat()), "");
        assert_eq!((stderr(&output).as_str(), output.status.code()), ("", Some(0)), "{words:?}");
    }
}

#[test]
fn a_key_that_is_typed_is_not_shown() {
    let daemon = daemon();
    let mut terminal = Terminal::new(&daemon.talkiectl(&["providers", "set-key", "gemini"]), 80, Seen::Text);
    terminal.sees("key of gemini: ");
    // The terminal echoes until the program has asked it not to, a moment after its question.
    crate::support::until("the terminal echoes nothing", || !terminal.echoes());
    terminal.line("s3cret-key");
    let (code, seen) = terminal.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains("s3cret"), "{seen}");
    let told = stdout(&finish(daemon.talkiectl(&["providers", "show", "gemini"]), ""));
    assert!(!told.contains("s3cret"), "{told}");
}

#[test]
fn a_key_is_typed_where_the_output_goes_elsewhere() {
    let daemon = daemon();
    let file = daemon.home.path().join("set.json");
    let set = daemon.talkiectl(&["providers", "set-key", "gemini", "--json"]);
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("exec \"$0\" \"$@\" > {}", file.display())).arg(set.get_program());
    command.args(set.get_args());
    for (name, value) in set.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut terminal = Terminal::new(&command, 80, Seen::Text);
    terminal.sees("key of gemini: ");
    crate::support::until("the terminal echoes nothing", || !terminal.echoes());
    terminal.line("s3cret-key");
    let (code, seen) = terminal.ends();
    assert_eq!(code, 0, "{seen}");
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&told["id"], &told["key"]), (&"gemini".into(), &"file".into()), "{told}");
}
