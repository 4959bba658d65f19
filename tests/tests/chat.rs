//! `talkiectl chat`, at a terminal and in a pipe, against a real daemon.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};

use crate::cli::{finish, stderr, stdout};
use crate::support::{Daemon, Start, model, until};
use crate::terminal::{END, HOME, Seen, Terminal, UP};

fn rhine(files: &mut model::Files) {
    files.answers("Danube", &json!(["**Vienna** lies on it."]));
    files.answers("river", &json!(["The Rhine."]));
}

fn endless(files: &mut model::Files) {
    files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
}

fn at(daemon: &Daemon, args: &[&str]) -> Terminal {
    let mut terminal = Terminal::new(&daemon.talkiectl(args), 80, Seen::Text);
    terminal.sees("/help lists what can be typed");
    terminal.sees("> ");
    terminal
}

fn running(daemon: &Daemon) -> usize {
    daemon.call("daemon.status", json!({})).unwrap()["requests"].as_array().unwrap().len()
}

fn piped(daemon: &Daemon, args: &[&str], input: &str) -> Output {
    finish(daemon.talkiectl(&[&["chat"], args].concat()), input)
}

/// A conversation that was saved.
fn saved(daemon: &Daemon, name: &str) -> Value {
    let file = daemon.home.path().join(name);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn who_is_chosen_now_goes_before_who_was_chosen_before() {
    let daemon = Start::fake().model("test/echo", rhine).run();
    let file = daemon.home.path().join("talk.json");
    let path = file.to_str().unwrap();
    let order = format!("/save {path}\n");
    assert_eq!(piped(&daemon, &["-m", "test/echo"], &order).status.code(), Some(0));
    let talk = std::fs::read_to_string(&file).unwrap();
    assert!(talk.contains("test/echo"), "{talk}");
    std::fs::write(&file, talk.replace("test/echo", "gone/model")).unwrap();
    for choice in [["-p", "mlx"], ["--tier", "budget"]] {
        let output = piped(&daemon, &[&[path][..], &choice].concat(), "river\n");
        assert!(stdout(&output).contains("The Rhine."), "{choice:?}: {}", stderr(&output));
    }
    let output = piped(&daemon, &["-p", "candle"], "/model test/echo\nriver\n");
    assert!(stdout(&output).contains("The Rhine."), "{}", stderr(&output));
}

#[test]
fn a_line_is_edited_answered_and_remembered() {
    let daemon = Start::fake().model("test/echo", rhine).run();
    let mut terminal = at(&daemon, &["chat"]);
    terminal.keys("ive");
    terminal.keys(HOME);
    terminal.keys("r");
    terminal.keys(END);
    terminal.line("r");
    terminal.sees("The Rhine.");
    terminal.control('d');
    assert_eq!(terminal.ends().0, 0);
    let history = daemon.home.path().join("chat_history");
    assert_eq!(std::fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&history).unwrap().contains("river"));
    let mut terminal = at(&daemon, &["chat"]);
    terminal.line(UP);
    terminal.sees("The Rhine.");
    terminal.line("/exit");
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn no_history_is_kept_where_none_is_wanted() {
    let daemon = Start::fake().model("test/echo", rhine).run();
    let mut terminal = at(&daemon, &["chat", "--no-history"]);
    terminal.line("a river");
    terminal.sees("The Rhine.");
    terminal.control('d');
    assert_eq!(terminal.ends().0, 0);
    assert!(!daemon.home.path().join("chat_history").exists());
}

#[test]
fn ctrl_c_ends_the_answer_and_not_the_conversation() {
    let daemon = Start::fake().model("test/endless", endless).run();
    let mut terminal = at(&daemon, &["chat", "--max-tokens", "3900"]);
    terminal.line("on and on.");
    terminal.sees("on and on.on and on.on and on.");
    terminal.control('c');
    terminal.sees("what came of it is kept");
    until("the daemon has ended the request", || running(&daemon) == 0);
    let file = daemon.home.path().join("broken.json");
    terminal.line(&format!("/save {}", file.display()));
    terminal.sees("2 turns are in");
    let saved = saved(&daemon, "broken.json");
    assert_eq!(saved["messages"][1]["broken_off"], true);
    assert!(saved["messages"][1]["content"].as_str().unwrap().starts_with("on and on.on and on."), "{saved}");
    // What is half typed is thrown away, and an empty line is told how to end.
    terminal.sees("> ");
    terminal.keys("half a turn");
    terminal.sees("half a turn");
    terminal.control('c');
    terminal.sees("> ");
    terminal.control('c');
    terminal.sees("Ctrl-D or /exit ends the conversation");
    terminal.control('d');
    assert_eq!(terminal.ends().0, 0);
    assert_eq!(running(&daemon), 0);
}

#[test]
fn an_answer_broken_off_before_its_first_word_takes_the_turn_back() {
    let slow = |files: &mut model::Files| files.config["fake"] = json!({ "load_step_ms": 3000 });
    let daemon = Start::fake().model("test/slow", slow).run();
    let mut terminal = at(&daemon, &["chat"]);
    terminal.line("patience");
    until("the request is there", || running(&daemon) == 1);
    terminal.control('c');
    terminal.sees("your turn is taken back");
    until("the daemon has ended the request", || running(&daemon) == 0);
    terminal.line("/tokens");
    terminal.sees("nothing was said yet");
    terminal.control('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn models_are_changed_and_completed_and_mistakes_explained() {
    let other = |files: &mut model::Files| files.answers("who", &json!(["the other one"]));
    let daemon = Start::fake().model("test/echo", rhine).model("test/other", other).run();
    let mut terminal = at(&daemon, &["chat", "-m", "test/echo"]);
    terminal.line("/mdoel test/other");
    terminal.sees("did you mean /model?");
    terminal.line("/model test/othre");
    terminal.sees("did you mean test/other?");
    terminal.line("/model");
    terminal.sees("test/echo answers");
    terminal.keys("/mod\t");
    terminal.line("test/ot\t");
    terminal.sees("test/other answers");
    terminal.line("who is there");
    terminal.sees("the other one");
    terminal.line("/help");
    terminal.sees("/regen");
    terminal.control('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn several_lines_are_one_turn_at_a_terminal() {
    let daemon = Start::fake().model("test/echo", rhine).run();
    let mut terminal = at(&daemon, &["chat"]);
    terminal.line("\"\"\"");
    terminal.line("name a");
    terminal.line("river");
    terminal.line("\"\"\"");
    terminal.sees("The Rhine.");
    let file = daemon.home.path().join("lines.json");
    terminal.line(&format!("/save {}", file.display()));
    terminal.sees("2 turns are in");
    assert_eq!(saved(&daemon, "lines.json")["messages"][0]["content"], "name a\nriver");
    terminal.control('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn markdown_has_its_look_at_a_terminal_alone() {
    let daemon = Start::fake().model("test/echo", rhine).run();
    let command = |args: &[&str]| daemon.talkiectl(&[&["chat", "--no-history"], args].concat());
    let mut terminal = Terminal::new(&command(&[]), 80, Seen::Escapes);
    terminal.line("the Danube");
    terminal.sees("\u{1b}[1mVienna\u{1b}[0m lies on it.");
    terminal.control('d');
    terminal.ends();
    let mut colourless = command(&[]);
    colourless.env("NO_COLOR", "1");
    for command in [command(&["--plain"]), colourless] {
        let mut terminal = Terminal::new(&command, 80, Seen::Escapes);
        terminal.line("the Danube");
        terminal.sees("**Vienna** lies on it.");
        terminal.control('d');
        terminal.ends();
    }
    assert_eq!(stdout(&piped(&daemon, &[], "the Danube\n")), "**Vienna** lies on it.\n");
}

#[test]
fn a_terminal_of_twenty_columns_is_wide_enough() {
    let daemon = Start::fake().model("test/echo", rhine).run();
    let mut terminal = Terminal::new(&daemon.talkiectl(&["chat", "--no-history"]), 20, Seen::Text);
    terminal.line("name me a long river, if you would be so kind");
    terminal.sees("The Rhine.");
    terminal.line("/help");
    terminal.sees("stop the answer");
    terminal.control('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn a_pipe_is_read_line_by_line_and_the_whole_conversation_sent() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let output = piped(&daemon, &["--system", "S"], "a\n\nb \\\nc\n\"\"\"\nd\n\ne\n\"\"\"\n");
    let (first, second) = ("Sa", "SaSab \nc");
    let third = format!("SaSab \nc{second}d\n\ne");
    assert_eq!(stdout(&output), format!("{first}\n{second}\n{third}\n"));
    assert_eq!((stderr(&output).as_str(), output.status.code()), ("", Some(0)));
}

#[test]
fn a_conversation_is_saved_loaded_and_answered_again() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let file = daemon.home.path().join("saved.json");
    let file = file.to_str().unwrap();
    let input = format!("/system \n/system S\na\n/save {file}\n/clear\n/tokens\n/load {file}\nb\n/regen\n/tokens\n");
    let output = piped(&daemon, &["-q", "-m", "test/echo"], &input);
    let said = "there is no system prompt; /system TEXT sets one\nSa\nnothing was said yet\nSaSab\nSaSab\n\
                11 of 4096 tokens, with a next turn of one letter, by test/echo\n";
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), (said, ""));
    let messages = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "Sa" }]);
    let expected = json!({ "version": 1, "model": "test/echo", "system": "S", "messages": messages });
    assert_eq!(saved(&daemon, "saved.json"), expected);
    let output = piped(&daemon, &[file], "b\n");
    assert_eq!(stdout(&output), "SaSab\n", "{}", stderr(&output));
}

#[test]
fn the_first_failure_ends_a_script_with_its_exit_code() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let case = |args: &[&str], input: &str, code: i32, words: &[&str]| {
        let output = piped(&daemon, args, input);
        assert_eq!(output.status.code(), Some(code), "{input}: {}", stderr(&output));
        assert!(words.iter().all(|words| stderr(&output).contains(words)), "{input}: {}", stderr(&output));
    };
    case(&["-m", "test/ecoh"], "a\n", 4, &["test/ecoh", "did you mean test/echo?"]);
    case(&[], "/frobnicate\n", 2, &["there is no /frobnicate", "/help"]);
    case(&[], "/load /no/such/file\n", 2, &["/no/such/file"]);
    case(&[], "/regen\n", 2, &["there is nothing to answer again"]);
    // The context has 4096 tokens, and each byte is one.
    case(&["-n", "4000"], &format!("{}\n", "x".repeat(200)), 2, &["4200", "4096", "/clear", "by 104 tokens"]);
    case(&["--tools", "x"], "", 2, &["--tools"]);
}

#[test]
fn a_pipe_of_other_bytes_is_refused_with_their_place() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let mut command = std::process::Command::new("sh");
    let program = daemon.talkiectl(&[]);
    command.arg("-c").arg("printf 'ab\\ncd\\351\\n' | \"$0\" chat").arg(program.get_program());
    command.env("TALKIE_HOME", daemon.home.path()).env_remove("TALKIE_SOCKET");
    let output = finish(command, "");
    assert_eq!(stdout(&output), "ab\n");
    assert!(stderr(&output).contains("standard input is not UTF-8 text: the byte at 5 is not"), "{}", stderr(&output));
}

#[test]
fn programs_get_the_events_of_every_answer() {
    let daemon = Start::fake().model("test/echo", |_| {}).run();
    let output = piped(&daemon, &["--json"], "a\n/tokens\nb\n");
    let events: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let finished = events.iter().filter(|event| event["type"] == "finished").count();
    assert_eq!(finished, 2, "{events:?}");
    let output = piped(&daemon, &["--json"], "/nothing\n");
    let error: Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!((stdout(&output).as_str(), &error["error"]["exit_code"]), ("", &json!(2)));
}
