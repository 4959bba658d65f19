use serde_json::json;

use super::*;
use crate::Workflow;

fn step(text: &str) -> Action {
    let text = format!("[inputs]\nlist = {{}}\n[[step]]\n{text}\n");
    let workflow = Workflow::read("test", &text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    workflow.steps[0].action.clone()
}

fn scope(list: &Value) -> Scope {
    let mut scope = Scope::default();
    scope.set("list", list);
    scope
}

#[test]
fn items_are_a_list() {
    let Action::ForEach(for_each) =
        step("for_each = { items = \"list\", step = [{ notify = { text = \"{{item}}\" } }] }")
    else {
        panic!("it is a for_each")
    };
    assert_eq!((for_each.name.as_str(), for_each.parallel.0), ("item", 1));
    assert_eq!(for_each.list(&scope(&json!([1, "a"]))), Ok(vec![json!(1), json!("a")]));
    let error = |list| for_each.list(&scope(&list)).unwrap_err().to_string();
    assert_eq!(error(json!("a, b")), "`items` is the text \"a, b\", not a list");
    assert_eq!(error(json!({ "tasks": [] })), "`items` is an object with `tasks`, not a list");
    assert_eq!(for_each.list(&Scope::default()).unwrap_err().to_string(), "`list` has no value in this run");
}

#[test]
fn what_another_workflow_is_given_keeps_its_type() {
    let written =
        "workflow = { name = \"2nd\", inputs = { a = \"{{list}}\", b = \"{{list}}.\", c = 3, d = [\"{{list}}\"] } }";
    let Action::Workflow(call) = step(written) else { panic!("it is a call") };
    let given: Vec<Value> = call.inputs.values().map(|given| given.value(&scope(&json!([1]))).unwrap()).collect();
    assert_eq!(given, [json!([1]), json!("[1]."), json!(3), json!(["{{list}}"])]);
}

#[test]
fn numbers_are_read_in_every_way_of_writing() {
    for (written, seconds) in
        [("90", 90), ("0x10", 16), ("1_000", 1000), ("\"90\"", 90), ("\"2m\"", 120), ("\"1h\"", 3600)]
    {
        let text = format!("[[step]]\ntimeout = {written}\nnotify = {{ text = \"a\" }}\n");
        let timeout = Workflow::read("test", &text).unwrap().steps[0].timeout;
        assert_eq!(timeout.map(|time| time.as_secs()), Some(seconds), "{written}");
    }
}
