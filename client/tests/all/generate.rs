//! `talkiectl generate`: text as it comes, prompts from everywhere, and every way it can end.

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::fake::{Call, Ended, Fake, PATIENCE, SUBSCRIPTION, Seen, expect_text, finished, gate, run, run_with_input};

fn queued() -> Value {
    json!({"type": "queued", "request_id": "req_1", "model": "org/x", "position": 0})
}

/// A whole answer around some pieces of text.
fn answer(call: &mut Call, pieces: &[&str], reason: &str) {
    if call.method() != "generate.stream" {
        return;
    }
    call.subscribed();
    call.event(&queued());
    call.event(&json!({"type": "loading", "done_bytes": 4, "total_bytes": 10}));
    call.event(&json!({"type": "started", "prompt_tokens": 9, "seed": 5}));
    for piece in pieces {
        call.text(piece);
    }
    call.finished(reason);
}

/// Runs against an answer of these pieces.
fn generated(pieces: &'static [&str], reason: &'static str, arguments: &[&str]) -> Ended {
    let fake = Fake::new(move |call| answer(call, pieces, reason));
    run(fake.talkiectl(&[&["generate", "hi"], arguments].concat()))
}

#[test]
fn text_arrives_piece_by_piece() {
    let (open, wait) = gate();
    let fake = Fake::new(move |call| {
        if call.method() == "generate.stream" {
            call.subscribed();
            call.event(&queued());
            call.text("Hel");
            wait();
            call.text("lo…");
            call.finished("stop");
        }
    });
    let mut child = fake.talkiectl(&["generate", "hi"]).spawn().expect("the program runs");
    let stdout = child.stdout.as_mut().expect("a pipe");
    expect_text(stdout, "Hel");
    open.send(()).expect("the fake waits");
    expect_text(stdout, "lo…\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn only_the_text_is_printed_and_its_last_line_ended() {
    for (pieces, stdout) in
        [(&["a", " b\nc"][..], "a b\nc\n"), (&["a\n"], "a\n"), (&["\u{1b}[1m"], "\u{1b}[1m\n"), (&[], "")]
    {
        let ended = generated(pieces, "stop", &[]);
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""));
    }
}

#[test]
fn stats_follow_on_standard_error() {
    let ended = generated(&["a"], "stop", &["--stats"]);
    assert_eq!(ended.stdout, "a\n");
    assert_eq!(ended.stderr, "first token 1.3 s, load 1.2 s, 45.2 tokens/s, 9 + 12 tokens, total 1.8 s, seed 5\n");
}

#[test]
fn a_cut_answer_says_so_unless_told_to_be_quiet() {
    let ended = generated(&["a"], "length", &[]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), "note: cut at 12 tokens, see --max-tokens\n"));
    assert_eq!(generated(&["a"], "length", &["-q"]).stderr, "");
}

#[test]
fn a_request_cancelled_elsewhere_is_interrupted() {
    let ended = generated(&["a"], "cancelled", &[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(130), "a\n"));
    assert_eq!(ended.stderr, "error: the request was cancelled by another client\n");
}

#[test]
fn json_is_the_events_as_they_came() {
    let odd = r#"{"type":"text","text":"\u00e9", "new":1e2}"#;
    let fake = Fake::new(move |call| {
        if call.method() == "generate.stream" {
            call.subscribed();
            call.raw_event(r#"{"type":"of a newer daemon"}"#);
            call.raw_event(odd);
            call.finished("length");
        }
    });
    let ended = run(fake.talkiectl(&["generate", "hi", "--json", "--stats"]));
    let expected = format!("{{\"type\":\"of a newer daemon\"}}\n{odd}\n{}\n", finished("length"));
    assert_eq!((ended.code, ended.stdout, &*ended.stderr), (Some(0), expected, ""));
}

#[test]
fn every_option_is_on_the_wire() {
    let fake = Fake::new(|call| answer(call, &["a"], "stop"));
    let ended = run(fake.talkiectl(&[
        "generate",
        "hi",
        "-m",
        "org/x",
        "-s",
        "Be brief",
        "-t",
        "0",
        "--top-p",
        "0.5",
        "--top-k",
        "40",
        "--min-p",
        "0.25",
        "-n",
        "7",
        "--xtc-probability",
        "0.25",
        "--xtc-threshold",
        "0.2",
        "--seed",
        "18446744073709551615",
        "--stop",
        "a",
        "--stop",
        "-b",
        "--repetition-penalty",
        "1.5",
        "--presence-penalty",
        "-1",
        "--frequency-penalty",
        "-0.5",
        "--keep-alive",
        "2h",
        "--trace-id",
        "memo-8",
    ]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    insta::assert_json_snapshot!(fake.sees_call().1);
}

/// A fake with files for formats in its home.
fn with_files(fake: Fake) -> Fake {
    let schema = "{ \"type\": \"object\",\n  \"properties\": { \"b\": {}, \"a\": {} } }\n";
    for (name, text) in [("schema", schema), ("list", "[]"), ("lark", "start: \"a\"\n")] {
        std::fs::write(fake.home.path().join(name), text).expect("a file");
    }
    std::fs::write(fake.home.path().join("latin1"), b"\xe4").expect("a file");
    fake
}

#[test]
fn a_format_is_on_the_wire() {
    let schema = json!({"type": "object", "properties": {"b": {}, "a": {}}});
    for (arguments, format) in [
        (&["--json-schema", "schema"][..], json!({"type": "json_schema", "schema": schema})),
        (&["--lark", "lark"], json!({"type": "lark", "grammar": "start: \"a\"\n"})),
        (&["--regex", "-?a+"], json!({"type": "regex", "pattern": "-?a+"})),
        (&["--json-object"], json!({"type": "json_object"})),
    ] {
        let fake = with_files(Fake::new(|call| answer(call, &["a"], "stop")));
        let mut command = fake.talkiectl(&[&["generate", "hi"], arguments].concat());
        command.current_dir(fake.home.path());
        let ended = run(command);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(fake.sees_call().1[0]["response_format"].to_string(), format.to_string());
    }
}

#[test]
fn a_bad_format_never_reaches_the_daemon() {
    let fake = with_files(Fake::new(|_| panic!("nothing may be sent")));
    let long = "a".repeat(65537);
    for (arguments, message) in [
        (&["--json-schema", "absent"][..], "failed to read absent: "),
        (&["--json-schema", "lark"], "lark is no JSON schema: "),
        (&["--json-schema", "list"], "list is no JSON schema: "),
        (&["--lark", "latin1"], "failed to read latin1: "),
        (&["--regex", &long], "response_format.pattern has 65537 bytes"),
        (&["--json-object", "--regex", "a"], "the argument '--json-object' cannot be used with '--regex <PATTERN>'"),
        (&["--json-object", "--stop", "a"], "cannot be used with"),
    ] {
        let mut command = fake.talkiectl(&[&["generate", "hi"], arguments].concat());
        command.current_dir(fake.home.path());
        let ended = run(command);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
        assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(message), "{}", ended.stderr);
    }
}

/// The prompt that reaches the daemon.
fn prompt_of(arguments: &[&str], input: &[u8]) -> Value {
    let fake = Fake::new(|call| answer(call, &["a"], "stop"));
    let ended = run_with_input(fake.talkiectl(&[&["generate"], arguments].concat()), input);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    fake.sees_call().1[0]["prompt"].clone()
}

#[test]
fn the_prompt_comes_from_argument_and_pipe() {
    assert_eq!(prompt_of(&["-"], b"from a pipe\n"), "from a pipe");
    assert_eq!(prompt_of(&[], "for no argument: é".as_bytes()), "for no argument: é");
    assert_eq!(prompt_of(&["Summarise:"], b"one\n\ntwo\n\n"), "Summarise:\n\none\n\ntwo");
    assert_eq!(prompt_of(&["Just this"], b""), "Just this");
    assert_eq!(prompt_of(&["Just this"], b"\n \n"), "Just this");
}

#[test]
fn a_prompt_comes_from_a_file() {
    let fake = Fake::new(|call| answer(call, &["a"], "stop"));
    let file = fake.home.path().join("notes");
    std::fs::write(&file, "from a file").expect("a file");
    let mut command = fake.talkiectl(&["generate", "Read"]);
    command.stdin(std::fs::File::open(file).expect("a file"));
    assert_eq!(run(command).code, Some(0));
    assert_eq!(fake.sees_call().1[0]["prompt"], "Read\n\nfrom a file");
}

#[test]
fn a_bad_prompt_never_reaches_the_daemon() {
    let fake = Fake::new(|_| panic!("nothing may be sent"));
    let too_long = vec![b'x'; (16 << 20) + 1];
    for (arguments, input, message) in [
        (&["generate", ""][..], &b""[..], "error: the prompt is empty\n"),
        (&["generate"], b" \n\n", "error: the prompt is empty\n"),
        (&["generate", "-"], b"abc\xff", "error: standard input is not UTF-8 text: the byte at 3 is not\n"),
        (&["generate", "-"], &too_long, "error: standard input has more than 16777216 bytes\n"),
        (&["generate", "hi", "-t", "9"], b"", "error: options.temperature is 9, but must lie in 0 to 5\n"),
    ] {
        let ended = run_with_input(fake.talkiectl(arguments), input);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
        assert!(ended.stderr.starts_with(message) && ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    }
}

#[test]
fn a_failure_in_the_middle_keeps_the_text_and_says_why() {
    let fake = Fake::new(|call| {
        call.subscribed();
        call.text("Half of");
        call.event(&json!({"type": "failed", "error": {"kind": "engine_lost", "message": "the engine of org/x died"}}));
    });
    let ended = run(fake.talkiectl(&["generate", "hi"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(5), "Half of\n"));
    assert_eq!(ended.stderr, "error: the engine of org/x died\nhint: run it again: the engine is started anew\n");
}

#[test]
fn a_failure_in_json_is_one_object_on_standard_error() {
    let fake = Fake::new(|call| {
        call.error(
            1004,
            &json!({"kind": "context_overflow", "message": "too long", "needed_tokens": 9, "context_length": 8}),
        );
    });
    let ended = run(fake.talkiectl(&["generate", "hi", "--json"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
    let error: Value = serde_json::from_str(&ended.stderr).expect("one JSON document");
    insta::assert_json_snapshot!(error);
}

#[test]
fn a_connection_lost_in_the_middle_is_told() {
    let fake = Fake::new(|call| {
        call.subscribed();
        call.text("Half of");
        call.hang_up();
    });
    let ended = run(fake.talkiectl(&["generate", "hi"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(3), "Half of\n"));
    assert!(
        ended.stderr.starts_with("error: the connection to talkied was closed in the middle\nhint: "),
        "{}",
        ended.stderr
    );
}

/// Interrupts the program and expects that its request is given up.
fn interrupt(fake: &Fake, mut child: std::process::Child) -> Ended {
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let code = child.wait().expect("it ends").code();
    assert_eq!(fake.sees(), Seen::Closed);
    let [mut stdout, mut stderr] = [String::new(), String::new()];
    child.stdout.take().expect("a pipe").read_to_string(&mut stdout).expect("text");
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    Ended { code, stdout, stderr }
}

#[test]
fn ctrl_c_in_the_middle_gives_the_request_up() {
    let fake = Fake::new(|call| {
        call.subscribed();
        call.text("Half of");
    });
    let mut child = fake.talkiectl(&["generate", "hi"]).spawn().expect("the program runs");
    assert_eq!(fake.sees_call().0, "generate.stream");
    expect_text(child.stdout.as_mut().expect("a pipe"), "Half of");
    let ended = interrupt(&fake, child);
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(130), "", ""));
}

#[test]
fn ctrl_c_before_the_daemon_answers_gives_the_request_up() {
    let fake = Fake::new(|_| ());
    let child = fake.talkiectl(&["generate", "hi"]).spawn().expect("the program runs");
    assert_eq!(fake.sees_call().0, "generate.stream");
    assert_eq!(interrupt(&fake, child).code, Some(130));
}

/// An answer that reasons, speaks and calls.
fn calling(call: &mut Call) {
    call.subscribed();
    call.event(&queued());
    call.event(&json!({"type": "reasoning", "text": "A tool"}));
    call.event(&json!({"type": "reasoning", "text": " helps."}));
    call.text("I look.");
    for (index, name) in ["get_weather", "now"].into_iter().enumerate() {
        call.event(&json!({"type": "tool_call", "index": index, "id": "A1b2C3d4E", "name": name}));
        call.event(&json!({"type": "tool_arguments", "index": index, "text": "{\"city\":"}));
        call.event(&json!({"type": "tool_arguments", "index": index, "text": "\"Bonn\"}"}));
    }
    call.finished("tool_calls");
}

#[test]
fn calls_are_printed_and_reasoning_goes_to_standard_error() {
    let fake = Fake::new(calling);
    let stdout = "I look.\nget_weather({\"city\":\"Bonn\"})\nnow({\"city\":\"Bonn\"})\n";
    for (arguments, stderr) in [(&[][..], "A tool helps.\n"), (&["--hide-reasoning"], ""), (&["-q"], "")] {
        let ended = run(fake.talkiectl(&[&["generate", "hi"], arguments].concat()));
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, stderr));
    }
}

#[test]
fn json_prints_reasoning_and_calls_as_they_come() {
    let fake = Fake::new(calling);
    let ended = run(fake.talkiectl(&["generate", "hi", "--json"]));
    let kinds: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["type"].clone()).collect();
    assert_eq!(kinds.len(), 11, "{}", ended.stdout);
    assert_eq!((&kinds[1], &kinds[4], &ended.stderr), (&json!("reasoning"), &json!("tool_call"), &String::new()));
}

#[test]
fn tools_of_a_file_are_on_the_wire() {
    let openai = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let sent = |arguments: &[&str]| {
        let fake = Fake::new(|call| answer(call, &["a"], "stop"));
        let file = fake.home.path().join("tools.json");
        std::fs::write(&file, openai.to_string()).expect("a file");
        run(fake.talkiectl(&[&["generate", "hi", "--tools", file.to_str().expect("a path")], arguments].concat()));
        fake.sees_call().1[0].clone()
    };
    let tools = json!([{"name": "f", "parameters": {"type": "object"}}]);
    let params = sent(&[]);
    assert_eq!((&params["tools"], params.get("tool_choice"), params.get("reasoning")), (&tools, None, None));
    let params = sent(&["--tool-choice", "f", "--no-reasoning"]);
    assert_eq!((&params["tool_choice"], &params["reasoning"]), (&json!({"name": "f"}), &json!("off")));
}

#[test]
fn a_file_without_tools_is_refused_before_anything_is_sent() {
    let fake = Fake::new(|_| {});
    let file = fake.home.path().join("tools.json");
    for (text, words) in [
        ("{}", "tools.json has no tools: invalid type: map, expected a sequence"),
        ("[{\"name\": \"a b\"}]", "\"a b\" is no name of a tool"),
        ("[{\"description\": \"x\"}]", "a tool: missing field `name`"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let ended = run(fake.talkiectl(&["generate", "hi", "--tools", file.to_str().expect("a path")]));
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let ended = run(fake.talkiectl(&["generate", "hi", "--tool-choice", "none"]));
    assert_eq!(ended.code, Some(2), "a choice needs tools: {}", ended.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let (open, wait) = gate();
    let fake = Fake::new(move |call| {
        call.subscribed();
        call.text("first line\n");
        wait();
        call.text("second line\n");
    });
    let mut child = fake.talkiectl(&["generate", "hi"]).spawn().expect("the program runs");
    let mut stdout = child.stdout.take().expect("a pipe");
    expect_text(&mut stdout, "first line\n");
    drop(stdout);
    open.send(()).expect("the fake waits");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    assert_eq!(fake.sees_call().0, "generate.stream");
    assert_eq!(fake.sees(), Seen::Closed);
}

#[test]
fn a_stuck_reader_does_not_hold_up_the_daemon() {
    // More than the pipe and the socket can hold together.
    const PIECES: usize = 4096;
    let (sent, is_sent) = std::sync::mpsc::channel();
    let piece = "x".repeat(1024);
    let text = piece.repeat(PIECES) + "\n";
    let fake = Fake::new(move |call| {
        if call.method() == "generate.stream" {
            call.subscribed();
            call.texts(&piece, PIECES);
            call.finished("stop");
            let _ = sent.send(());
        }
    });
    let child = fake.talkiectl(&["generate", "hi"]).spawn().expect("the program runs");
    is_sent.recv_timeout(PATIENCE).expect("everything is taken while nobody reads the output");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == text.as_bytes(), "{} bytes", output.stdout.len());
}

#[test]
fn garbage_in_the_stream_is_told() {
    let fake = Fake::new(|call| {
        call.subscribed();
        call.text("a");
        call.raw(&format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"generate.event\",\"params\":{{\"subscription\":{SUBSCRIPTION},\"result\":7}}}}\n"
        ));
    });
    let ended = run(fake.talkiectl(&["generate", "hi"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(1), "a\n"));
    assert!(ended.stderr.starts_with("error: the answer of talkied cannot be understood: "), "{}", ended.stderr);
}

/// Runs against a daemon that is started anew at each request: the first ones end as told, then one answers.
fn restarted(times: u32, end: impl Fn(&mut Call) + Send + Sync + 'static, arguments: &[&str]) -> (Ended, u32) {
    let asked = std::sync::Arc::new(AtomicU32::new(0));
    let count = std::sync::Arc::clone(&asked);
    let fake = Fake::new(move |call| {
        if call.method() == "generate.stream" && count.fetch_add(1, Ordering::Relaxed) < times {
            end(call);
            call.hang_up();
        } else {
            answer(call, &["whole"], "stop");
        }
    });
    let ended = run(fake.talkiectl(&[&["generate", "hi"], arguments].concat()));
    (ended, asked.load(Ordering::Relaxed))
}

fn shutting_down() -> Value {
    json!({"kind": "shutting_down", "message": "talkied is ending"})
}

#[test]
fn a_daemon_that_is_started_anew_answers_in_the_end() {
    let refused = |call: &mut Call| call.error(3003, &shutting_down());
    let waited = |call: &mut Call| {
        call.subscribed();
        call.event(&queued());
        call.event(&json!({"type": "failed", "error": shutting_down()}));
    };
    for (ended, asked) in [
        restarted(3, refused, &[]),
        restarted(3, waited, &[]),
        restarted(2, Call::hang_up, &[]),
        restarted(0, refused, &[]),
    ] {
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "whole\n", ""), "asked {asked} times");
    }
    let (ended, _) = restarted(1, waited, &["--json"]);
    assert_eq!(ended.stdout.lines().filter(|line| line.contains("failed")).count(), 0, "{}", ended.stdout);
    assert!(ended.stdout.ends_with(&format!("{}\n", finished("stop"))), "{}", ended.stdout);
}

#[test]
fn an_answer_that_has_begun_is_not_asked_for_again() {
    let half = |call: &mut Call| {
        call.subscribed();
        call.text("Half of");
        call.event(&json!({"type": "failed", "error": shutting_down()}));
    };
    let (ended, asked) = restarted(1, half, &[]);
    assert_eq!((ended.code, &*ended.stdout, asked), (Some(5), "Half of\n", 1));
}

#[test]
fn a_request_that_ends_the_daemon_is_not_sent_for_ever() {
    let (ended, asked) = restarted(u32::MAX, Call::hang_up, &[]);
    assert_eq!((ended.code, asked), (Some(3), 3), "{}", ended.stderr);
}
