//! The clients that the reference of the wire shows work as they stand there.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::fake::{Fake, Seen, run};

const README: &str = include_str!("../../../protocol/README.md");

/// The program the reference shows in Python, told to use this fake.
fn python(fake: &Fake) -> Command {
    let (_, rest) = README.split_once("```python\n").expect("a fence");
    let (program, _) = rest.split_once("```").expect("a closed fence");
    let mut command = Command::new("python3");
    command.args(["-c", program]).env("TALKIE_SOCKET", &fake.socket);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_python_client_streams_an_answer() {
    let fake = Fake::new(|call| {
        call.subscribed();
        call.text("Rhine, ");
        call.text("Elbe…");
        call.finished("stop");
    });
    let ended = run(python(&fake));
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "Rhine, Elbe…", ""));
    let params = json!({"prompt": "Name three rivers."});
    assert_eq!(fake.sees_call(), ("generate.stream".into(), params));
    assert_eq!(fake.sees(), Seen::Closed);
}

#[test]
fn the_python_client_tells_both_kinds_of_failure() {
    let refused = Fake::new(|call| call.error(3001, &json!({"kind": "busy", "message": "8 wait"})));
    let failed = Fake::new(|call| {
        call.subscribed();
        call.event(&json!({"type": "failed", "error": {"kind": "engine_lost", "message": "the engine died"}}));
    });
    for (fake, message) in [(refused, "8 wait\n"), (failed, "the engine died\n")] {
        let ended = run(python(&fake));
        assert_eq!((ended.code, &*ended.stderr), (Some(1), message));
    }
}
