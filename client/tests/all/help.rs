//! What `--help` says, word by word.

use tempfile::TempDir;

use crate::fake::{run, run_with_input, talkiectl};

fn help(arguments: &[&str]) -> String {
    let home = TempDir::new().expect("a directory");
    let ended = run(talkiectl(&home, arguments));
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    ended.stdout
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(help(&["--help"]));
}

/// Every command, with those below others, as it is typed: from what can be typed, so that none is forgotten.
pub fn every_command() -> Vec<Vec<String>> {
    let home = TempDir::new().expect("a directory");
    let dir = home.path().to_str().expect("text");
    let ended = run(talkiectl(&home, &["man", "--json", "--dir", dir]));
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let pages = told["pages"].as_array().expect("a list").iter();
    let words =
        |page: &serde_json::Value| page["command"].as_str().expect("a name").split(' ').map(str::to_owned).collect();
    let commands = pages.map(words).map(|words: Vec<String>| words[1..].to_vec()).filter(|words| !words.is_empty());
    let commands: Vec<_> = commands.chain([vec!["man".to_owned()]]).collect();
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

#[test]
fn help_of_every_command() {
    for command in every_command() {
        let name = format!("help_of_{}", command.join("_"));
        insta::assert_snapshot!(name, help(&[&words(&command)[..], &["--help"]].concat()));
    }
}

#[test]
fn every_command_takes_json_and_fails_in_json() {
    let home = TempDir::new().expect("a directory");
    for command in every_command() {
        let text = help(&[&words(&command)[..], &["--help"]].concat());
        assert!(text.contains("--json") && text.contains("--quiet"), "{command:?}: {text}");
        // Whatever else it lacks, this it does not know.
        let ended = run(talkiectl(&home, &[&words(&command)[..], &["--json", "--no-such-option"]].concat()));
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{command:?}");
        let error: serde_json::Value = serde_json::from_str(&ended.stderr).expect("one JSON document");
        let message = error["error"]["message"].as_str().expect("a message");
        assert!(message.contains("--no-such-option"), "{command:?}: {message}");
        assert_eq!(error["error"]["exit_code"], 2);
    }
}

#[test]
fn without_a_daemon_every_command_ends_in_json() {
    let home = TempDir::new().expect("a directory");
    for command in every_command() {
        // `service` has the system do something, `doctor` finds something; both have tests of their own.
        if matches!(&*command[0], "man" | "completions" | "service" | "doctor") {
            continue;
        }
        let bare = [&["--json", "--no-start"][..], &words(&command)].concat();
        // What it needs is made up, one after the other; a command that needs more than this is told by the assertion.
        let needs = [&[][..], &["x"], &["generate"]];
        let ended = needs.map(|needs| run_with_input(talkiectl(&home, &[&bare[..], needs].concat()), b"x\n"));
        for ended in &ended {
            // What is to be stopped may have stopped already.
            let (told, silent) = match ended.code {
                Some(0) => (&ended.stdout, &ended.stderr),
                _ => (&ended.stderr, &ended.stdout),
            };
            let told: serde_json::Value =
                serde_json::from_str(told).unwrap_or_else(|_| panic!("{command:?}: {ended:?}"));
            assert_eq!(silent, "", "{command:?}");
            if let Some(code @ 1..) = ended.code {
                assert_eq!(told["error"]["exit_code"], code, "{command:?}");
            } else {
                assert!(matches!(&*command[0], "stop" | "config"), "{command:?}");
            }
        }
    }
}

#[test]
fn a_page_of_the_manual_is_written_for_every_command() {
    let home = TempDir::new().expect("a directory");
    let dir = home.path().to_str().expect("text");
    assert_eq!(run(talkiectl(&home, &["man", "--dir", dir, "-q"])).code, Some(0));
    for command in every_command().into_iter().filter(|command| command[0] != "man") {
        let page = home.path().join(format!("talkiectl-{}.1", command.join("-")));
        let text = std::fs::read_to_string(&page).expect("a page");
        assert!(text.starts_with(".ie") && text.contains(".SH NAME") && text.contains("json"), "{}", page.display());
    }
    let nowhere = run(talkiectl(&home, &["man", "--dir", "/no/such/folder"]));
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.stderr.contains("/no/such/folder"), "{}", nowhere.stderr);
    assert!(run(talkiectl(&home, &["man"])).stdout.contains(".SH NAME"));
}

#[test]
fn an_argument_that_is_no_text_is_named_with_its_byte() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let home = TempDir::new().expect("a directory");
    for more in [&[][..], &["--json"]] {
        let mut command = talkiectl(&home, more);
        command.arg("generate").arg(OsStr::from_bytes(b"caf\xe9"));
        let ended = run(command);
        assert_eq!(ended.code, Some(2));
        let expected = "the argument caf\u{fffd} is not UTF-8 text: its byte at 3 is not";
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert_eq!(ended.stderr.starts_with('{'), !more.is_empty());
    }
}

#[test]
fn help_of_what_is_done_about_the_configuration() {
    let of_all = ["show", "init", "check", "reload", "path", "schema"].map(|what| help(&["config", what, "--help"]));
    insta::assert_snapshot!(of_all.concat());
}

#[test]
fn no_command_shows_the_help_and_fails() {
    let home = TempDir::new().expect("a directory");
    let ended = run(talkiectl(&home, &[]));
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
    assert!(ended.stderr.contains("Usage: talkiectl"), "{}", ended.stderr);
}

#[test]
fn wrong_usage_is_json_where_json_was_asked_for() {
    let home = TempDir::new().expect("a directory");
    let ended = run(talkiectl(&home, &["ping", "--count", "0", "--json"]));
    assert_eq!(ended.code, Some(2));
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).expect("one JSON document");
    assert_eq!(error["error"]["exit_code"], 2);
    assert!(error["error"]["message"].as_str().is_some_and(|message| message.contains("--count")), "{error}");
}

#[test]
fn what_is_missing_is_named_in_json_too() {
    let home = TempDir::new().expect("a directory");
    let error = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&run(talkiectl(&home, arguments)).stderr).expect("one JSON document")
    };
    let missing = error(&["--json", "load"])["error"]["message"].clone();
    assert_eq!(missing, "the following required arguments were not provided: <MODEL>");
    assert_eq!(error(&["--json"])["error"]["message"], "a command is missing");
    assert_eq!(error(&["--json", "chta"])["error"]["hint"], "a similar subcommand exists: 'chat'");
}
