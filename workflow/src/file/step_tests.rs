use super::*;
use crate::Workflow;

fn on_error(written: &str) -> Result<OnError, String> {
    let text = format!(
        "[[step]]\non_error = {written}\nnotify = {{ text = \"a\" }}\n[[step]]\nname = \"b\"\nnotify = {{ text = \"a\" }}\n"
    );
    match Workflow::read("test", &text) {
        Ok(workflow) => Ok(workflow.steps[0].on_error.clone()),
        Err(problems) => Err(problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("\n")),
    }
}

#[test]
fn what_follows_a_failure_is_read() {
    assert!(matches!(on_error("\"stop\"").unwrap(), OnError { retry: None, then: Then::Stop }));
    assert!(matches!(on_error("\"skip\"").unwrap(), OnError { retry: None, then: Then::Skip }));
    assert!(
        matches!(on_error("{ goto = \"b\" }").unwrap(), OnError { retry: None, then: Then::Goto(name) } if &*name == "b")
    );
    let again = on_error("{ retry = { times = 4, wait = \"2s\", most_wait = 10, then = { goto = \"b\" } } }").unwrap();
    let waits: Vec<Option<u64>> =
        (0..7).map(|failures| again.wait_after(failures).map(|wait| wait.as_secs())).collect();
    assert_eq!(waits, [None, Some(2), Some(4), Some(8), Some(10), None, None]);
    assert!(matches!(again.then, Then::Goto(name) if &*name == "b"));
    let usual = on_error("{ retry = { times = 20 } }").unwrap();
    assert_eq!(usual.wait_after(1), Some(Duration::from_secs(1)));
    assert_eq!(usual.wait_after(20), Some(Duration::from_mins(1)));
    assert!(matches!(usual.then, Then::Stop));
}

#[test]
fn what_cannot_follow_is_refused() {
    for (written, expected) in [
        ("\"skp\"", "this must be \"stop\" or \"skip\", not \"skp\"; did you mean \"skip\"?"),
        ("3", "this must be \"stop\", \"skip\" or { goto = \"NAME\" }, not 3"),
        ("{ goto = \"c\" }", "there is no step `c` in this list of steps; there is `b`"),
        ("{ gotoo = \"b\" }", "there is no key `gotoo` here; did you mean `goto`?"),
        ("{ retry = {} }", "`times` is missing here"),
        ("{ retry = { times = 0 } }", "this must be a whole number from 1 to 20, not 0"),
        ("{ retry = { times = 21 } }", "this must be a whole number from 1 to 20, not 21"),
        ("{ retry = { times = 3 }, goto = \"b\" }", "there is no key `goto` here; there is `retry`"),
        (
            "{ retry = { times = 3, wait = \"soon\" } }",
            "this must be seconds, or a time such as \"10s\" or \"5m\", above 0 and up to a year, not \"soon\"",
        ),
        (
            "{ retry = { times = 3, wait = 0 } }",
            "this must be seconds, or a time such as \"10s\" or \"5m\", above 0 and up to a year, not 0",
        ),
    ] {
        assert_eq!(on_error(written).err().as_deref(), Some(expected), "{written}");
    }
}
