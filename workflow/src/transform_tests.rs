use serde_json::json;

use super::*;
use crate::Workflow;
use crate::file::Action;

/// What a transform of `value` gives.
fn output(transform: &str, value: &Value) -> Result<Value, String> {
    let text = format!("[inputs]\nvalue = {{}}\n[[step]]\ntransform = {{ from = \"value\", {transform} }}\n");
    let workflow = Workflow::read("test", &text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    let Action::Transform(transform) = &workflow.steps[0].action else { panic!("{workflow:?}") };
    let mut scope = Scope::default();
    scope.set("value", value);
    transform.output(&scope).map_err(|error| error.to_string())
}

#[track_caller]
fn check(transform: &str, value: &Value, expected: &Value) {
    assert_eq!(output(transform, value).as_ref(), Ok(expected), "{transform}");
}

#[track_caller]
fn fails(transform: &str, value: &Value, expected: &str) {
    assert_eq!(output(transform, value), Err(expected.to_owned()), "{transform} of {value}");
}

#[test]
fn a_pointer_finds_a_part() {
    let value = json!({ "tasks": [{ "name": "a" }], "a/b": 1, "c~d": 2, "": 3 });
    check("pointer = '/tasks/0/name'", &value, &json!("a"));
    check("pointer = ''", &value, &value);
    check("pointer = '/a~1b'", &value, &json!(1));
    check("pointer = '/c~0d'", &value, &json!(2));
    check("pointer = '/'", &value, &json!(3));
    fails("pointer = '/tasks/1'", &value, "`/tasks/1` points to nothing: `/tasks` is a list of 1");
    fails(
        "pointer = '/task/1'",
        &value,
        "`/task/1` points to nothing: the value is an object with `tasks`, `a/b`, `c~d` and ``; did you mean `tasks`?",
    );
    fails(
        "pointer = '/tasks/0/name/x'",
        &value,
        "`/tasks/0/name/x` points to nothing: `/tasks/0/name` is the text \"a\"",
    );
    fails("pointer = '/x'", &json!(3), "`/x` points to nothing: the value is 3");
    fails("pointer = '/x'", &json!({}), "`/x` points to nothing: the value is an empty object");
}

#[test]
fn a_regular_expression_finds_texts() {
    let text = json!("Ann: 12, Bob: 7");
    check("regex = '[0-9]+'", &text, &json!("12"));
    check("regex = '(\\w+): (\\d+)', group = 2", &text, &json!("12"));
    check("regex = '(?<who>\\w+): \\d+', group = 'who', all = true", &text, &json!(["Ann", "Bob"]));
    check("regex = 'x', all = true", &text, &json!([]));
    check("regex = '(a)|(\\d)', group = 1, all = true", &json!("1a"), &json!(["", "a"]));
    fails("regex = 'x+'", &text, "`x+` matches nothing in the text \"Ann: 12, Bob: 7\"");
    fails("regex = '(a)|(b)', group = 2", &json!("a"), "`(a)|(b)` matches, but its group takes no part in it");
    fails("regex = 'x'", &json!([1]), "regex takes a text, but there is a list of 1");
    // One that would take ever longer elsewhere.
    check("regex = '(a*)*b', all = true", &json!("a".repeat(100_000)), &json!([]));
}

#[test]
fn texts_are_split_and_lists_joined() {
    check("split = ', '", &json!("a, b"), &json!(["a", "b"]));
    check("split = ','", &json!(""), &json!([""]));
    check("join = '; '", &json!(["a", 1, null, { "b": true }]), &json!("a; 1; null; {\"b\":true}"));
    check("join = ','", &json!([]), &json!(""));
    fails("split = ','", &json!(null), "split takes a text, but there is null");
    fails("join = ','", &json!(""), "join takes a list, but there is an empty text");
    let many: Value = std::iter::repeat_n(1, 250_000).collect();
    let error = output("join = '-----'", &many).unwrap_err();
    assert_eq!(error, "it gives 1499995 bytes, but 1048576 are the most");
    let error = output("split = 'a'", &json!("a".repeat(500_000))).unwrap_err();
    assert_eq!(error, "it gives 1500004 bytes, but 1048576 are the most");
}

#[test]
fn a_text_is_read_as_json() {
    check("json = true", &json!(" {\"a\": [1]} "), &json!({ "a": [1] }));
    fails("json = true", &json!("Sure! {}"), "the text \"Sure! {}\" is no JSON: expected value at line 1 column 1");
    fails("json = true", &json!(3), "json takes a text, but there is 3");
    let deep = "[".repeat(100_000);
    assert!(output("json = true", &json!(deep)).unwrap_err().contains("recursion limit exceeded"));
}

#[test]
fn the_output_before_is_taken_where_nothing_is_said() {
    let text = "[[step]]\nnotify = { text = \"a\" }\n[[step]]\ntransform = { split = \",\" }\n";
    let workflow = Workflow::read("test", text).unwrap();
    let Action::Transform(transform) = &workflow.steps[1].action else { panic!("{workflow:?}") };
    let mut scope = Scope::default();
    let error = transform.output(&scope).unwrap_err().to_string();
    assert_eq!(error, "`from`: `PREVIOUS_OUTPUT` has no value in this run");
    scope.set(PREVIOUS_OUTPUT, &json!("a,b"));
    assert_eq!(transform.output(&scope), Ok(json!(["a", "b"])));
}
