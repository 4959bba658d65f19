//! What every command prints, in words and as JSON, against a real daemon; what differs from run to run left out.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};
use talkied_hub::{Hub, Repo};

use crate::cli::{finish, run, stdout};
use crate::support::{Daemon, Start, program, until};
use crate::workflows::bench::write;

/// The commands in an order in which each has something to say, with what is typed into them. HOME is the daemon's.
const LINES: [(&str, &str); 59] = [
    ("ping", ""),
    ("models", ""),
    ("events", ""),
    ("catalogue", ""),
    ("du", ""),
    ("generate -m test/echo --seed 1 hello", ""),
    ("generate -m no/such hello", ""),
    ("chat -m test/echo", "hello\n/model\n/tokens\n"),
    ("run HOME/prompt.md name=Ada", ""),
    ("run HOME/prompt.md", ""),
    ("load test/echo --keep-alive forever", ""),
    ("ps", ""),
    ("status", ""),
    ("top --once --interval 0.1", ""),
    ("unload test/echo", ""),
    ("unload test/echo", ""),
    ("pull org/name --wait", ""),
    ("pull org/none --wait", ""),
    ("pulls", ""),
    ("pulls pause org/name", ""),
    ("pulls resume org/other", ""),
    ("pulls cancel org/other", ""),
    ("verify org/name", ""),
    ("import HOME/elsewhere --model my/echo", ""),
    ("rm my/echo", ""),
    ("providers", ""),
    ("providers set here --url http://127.0.0.1:9/v1", ""),
    ("providers show here", ""),
    ("providers test here", ""),
    ("providers set-key here", "key\n"),
    ("providers remove-key here", ""),
    ("providers rm here", ""),
    ("secret ls", ""),
    ("secret set my-hook", "value\n"),
    ("secret ls", ""),
    ("secret rm my-hook", ""),
    ("workflow ls", ""),
    ("workflow show greet", ""),
    ("workflow check greet HOME/broken.toml", ""),
    ("workflow run greet who=Ada --dry-run", ""),
    ("workflow run greet who=Ada", ""),
    ("workflow runs", ""),
    ("workflow log run_1", ""),
    ("workflow cancel run_1", ""),
    ("workflow retry run_1", ""),
    ("usage --by provider,model", ""),
    ("cancel req_999", ""),
    ("logs -n 1", ""),
    ("doctor", ""),
    ("config path", ""),
    ("config init", ""),
    ("config init", ""),
    ("config check", ""),
    ("config show", ""),
    ("config schema", ""),
    ("config reload", ""),
    ("completions fish", ""),
    ("man --dir HOME", ""),
    ("stop", ""),
];

fn daemon(hub: &Hub) -> Daemon {
    let daemon = Start::fake()
        .args(&["--hub", &hub.endpoint()])
        .model("test/cut", |files| files.without.push("config.json"))
        .model("test/echo", |_| {})
        .model("my/source", |_| {})
        .run();
    let home = daemon.home.path();
    std::fs::rename(home.join("Models/MLX/my_source"), home.join("elsewhere")).unwrap();
    let prompt = "+++\nmodel = \"test/echo\"\n[variables]\ngreeting = \"Hello\"\n+++\n{{greeting}}, {{name}}!\n";
    std::fs::write(home.join("prompt.md"), prompt).unwrap();
    let greet = "description = \"Greets\"\n[inputs]\nwho = { required = true }\n[[step]]\nname = \"words\"\noutput_key = \"words\"\ntransform = { from = \"'Hello ' + who\", split = \" \" }\n[[step]]\ntransform = { join = \"-\" }\n";
    write(&daemon, "greet", greet);
    std::fs::write(home.join("broken.toml"), "[[step]]\nllm = { promt = \"x\" }\n").unwrap();
    let gone = || daemon.call("models.list", json!({})).unwrap()["models"].as_array().unwrap().len() == 2;
    until("the moved folder is no model", gone);
    daemon
}

/// All that is printed, each behind its command line.
fn transcript(more: &[&str]) -> String {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(2 << 20, 1));
    let daemon = daemon(&hub);
    let mut text = String::new();
    for (line, input) in LINES {
        let home = daemon.home.path().to_str().unwrap();
        let words: Vec<String> = line.split(' ').map(|word| word.replace("HOME", home)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let mut command = daemon.talkiectl(&words);
        command.env("TZ", "UTC");
        // What `doctor` looks at, which another machine may have.
        command.env("XDG_CONFIG_HOME", daemon.home.path());
        command.env("TALKIE_ENGINE", program("fake-engine")).env("TALKIE_CANDLE", daemon.home.path().join("none"));
        let output = finish(command, input);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let code = output.status.code().unwrap();
        let code = if code == 0 { String::new() } else { format!("[{code}]\n") };
        writeln!(text, "$ talkiectl {line}\n{}{code}", said.concat()).unwrap();
    }
    let programs = program("talkiectl");
    let programs = programs.parent().unwrap().to_str().unwrap();
    text.replace(daemon.home.path().to_str().unwrap(), "HOME")
        .replace(&hub.endpoint(), "HUB")
        .replace(programs, "PROGRAMS")
}

fn check(name: &str, more: &[&str]) {
    let mut settings = insta::Settings::clone_current();
    for (volatile, stands_for) in [
        (r"\d\d:\d\d:\d\d(\.\d+Z)?", "TIME"),
        (r"process \d+", "process N"),
        (r"takes [\d.]+ k?B", "takes SOME"),
        (
            r#""(\w+_ms|\w+_per_s|\w+_per_second|pid|uptime_ms|memory_bytes|seq|seed|age_ms|modified|free_bytes|budget_bytes)":[-\d.e]+"#,
            "\"$1\":N",
        ),
        (r#""(p\d+_us)":[\d.]+"#, "\"$1\":N"),
        // How many there are is a matter of time.
        (r#"\{"type":"loading"[^\n]*\n"#, ""),
        (", the one to begin with", ""),
        (r"\d+(\.\d)? ?(µs|ms|s)\b", "DURATION"),
        (r"(DURATION +)[\d.]+ .B", "${1}SOME"),
        ("MEMORY +REQUESTS", "MEMORY   REQUESTS"),
        (r"\d{4}-\d\d-\d\d", "DATE"),
        (r"req_[0-9a-f]+(_\d+)?", "req_N"),
        (r"pid \d+", "pid N"),
        (r"[\d.]+ .B of [\d.]+ .B free", "SOME of SOME free"),
        (r"[\d.]+ .B of its own", "SOME of its own"),
        (r"[\d.]+ .B of this machine", "SOME of this machine"),
        (r"of [\d.]+ .B for models", "of SOME for models"),
        (r"of the [\d.]+ .B that they may", "of the SOME that they may"),
        (r"too large", "–"),
        (r#""(fits|is_default)":(true|false)"#, "\"$1\":BOOL"),
        (r"os error \d+", "os error N"),
        // Tables are as wide as paths that are shorter or longer elsewhere.
        (r" {3,}", "   "),
    ] {
        settings.add_filter(volatile, stands_for);
    }
    settings.bind(|| insta::assert_snapshot!(name, transcript(more)));
}

#[test]
fn what_every_command_prints_for_people() {
    check("for_people", &[]);
}

#[test]
fn what_every_command_prints_for_programs() {
    check("for_programs", &["--json"]);
}

#[test]
fn no_command_is_forgotten() {
    let daemon = Start::fake().run();
    let pages = run(&daemon, &["man", "--json", "--dir", daemon.home.path().to_str().unwrap()], "");
    let told: Value = serde_json::from_str(&stdout(&pages)).unwrap();
    let shown = LINES.map(|(line, _)| format!("talkiectl {line} "));
    let forgotten: BTreeSet<&str> = told["pages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|page| page["command"].as_str())
        // It has the system do something; what it prints is in the client's own tests.
        .filter(|command| !command.starts_with("talkiectl service"))
        // It is held by the tests of the crate that makes it.
        .filter(|command| *command != "talkiectl workflow schema")
        .filter(|command| !shown.iter().any(|line| line.starts_with(&format!("{command} "))))
        .collect();
    assert!(forgotten.is_subset(&BTreeSet::from(["talkiectl"])), "{forgotten:?}");
}
