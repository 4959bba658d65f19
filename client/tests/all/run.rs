//! `talkiectl run`: what of a file, the command line and a pipe reaches the daemon.

use serde_json::{Value, json};

use crate::fake::{Ended, Fake, run_with_input};

/// Runs with a file of these bytes and something to read, and returns what was asked, if anything was.
fn ran(file: &[u8], arguments: &[&str], input: &[u8]) -> (Ended, Option<Value>) {
    let fake = Fake::new(|call| {
        call.subscribed();
        call.event(&json!({"type": "queued", "request_id": "req_1", "model": "org/x", "position": 0}));
        call.text("fine");
        call.finished("stop");
    });
    std::fs::write(fake.home.path().join("ask.md"), file).expect("a file");
    let mut command = fake.talkiectl(&[&["run"], arguments].concat());
    command.current_dir(fake.home.path());
    let ended = run_with_input(command, input);
    let asked = ended.code == Some(0);
    (ended, asked.then(|| fake.sees_call().1[0].clone()))
}

#[track_caller]
fn asks(file: &str, arguments: &[&str], input: &str, prompt: &str) -> Value {
    let (ended, request) = ran(file.as_bytes(), arguments, input.as_bytes());
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "fine\n", ""));
    let request = request.expect("it asked");
    assert_eq!(request["prompt"], prompt);
    request
}

#[test]
fn what_is_piped_in_goes_to_its_place_or_behind() {
    asks("Sum up: {{input}}.", &["ask.md"], "a\nb\n", "Sum up: a\nb.");
    asks("Sum up.\n", &["ask.md"], "a\nb\n", "Sum up.\n\na\nb");
    asks("not read", &["-", "name=Ada"], "Hello {{name}}\n", "Hello Ada");
}

#[test]
fn options_of_the_file_reach_the_wire_and_those_typed_go_before() {
    let file = "+++\nmodel = \"org/x\"\ntemperature = 0.2\nmax_tokens = 7\nsystem = \"s\"\n+++\nHi";
    let request = asks(file, &["ask.md", "-n", "9", "-m", "org/y"], "", "Hi");
    assert_eq!((&request["model"], &request["options"]["max_tokens"]), (&json!("org/y"), &json!(9)));
    assert_eq!(request["options"]["system_prompt"], "s");
    assert!((request["options"]["temperature"].as_f64().expect("a number") - 0.2).abs() < 1e-6);
}

#[test]
fn what_cannot_be_asked_is_refused_by_name_and_never_sent() {
    for (file, arguments, words) in [
        (&b"caf\xe9"[..], &["ask.md"][..], "failed to read ask.md: it is not UTF-8 text: the byte at 3 is not"),
        (b"x", &["none.md"], "failed to read none.md"),
        (b"{{a}}\n{{b}}", &["ask.md", "a=1"], "ask.md, line 2: b has no value"),
        (b"{{a}}", &["ask.md", "a"], "write it as key=value"),
        (b" \n", &["ask.md"], "the prompt is empty"),
        (b"+++\ntemperature = 9\n+++\nx", &["ask.md"], "temperature"),
    ] {
        let (ended, request) = ran(file, arguments, b"");
        assert_eq!((ended.code, &*ended.stdout, request), (Some(2), "", None), "{arguments:?}");
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}
