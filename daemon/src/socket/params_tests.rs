use protocol::openrpc;
use serde_json::{Value, json};

use super::super::Limits;
use super::super::testing::{Server, matches};
use super::*;

fn shaped(method: &str, params: &str) -> Result<Option<String>, String> {
    let params = (!params.is_empty()).then(|| Cow::Owned(RawValue::from_string(params.to_owned()).unwrap()));
    shape(openrpc::method(method).unwrap(), params).map(|shaped| shaped.map(|shaped| shaped.get().to_owned()))
}

#[test]
fn an_object_becomes_the_one_element_of_an_array() {
    for (given, expected) in [
        (r#"{"model":"a"}"#, r#"[{"model":"a"}]"#),
        (r#"[{"model":"a"}]"#, r#"[{"model":"a"}]"#),
        ("", "[{}]"),
        ("{}", "[{}]"),
        ("[]", "[{}]"),
        ("[ ]", "[{}]"),
    ] {
        assert_eq!(shaped("models.get", given).unwrap().as_deref(), Some(expected), "{given}");
    }
}

#[test]
fn anything_else_is_refused_and_named() {
    for (method, given, why) in [
        ("models.get", r"[{},{}]", "extra params: models.get takes one object, and got 2 values"),
        ("models.get", r#"["a"]"#, r#"an array with one, not an array with "a""#),
        ("models.get", r"[[{}]]", "not an array with [{}]"),
        ("models.get", r#""a""#, r#"params of models.get is an object, not "a""#),
        ("models.get", "7", "is an object, not 7"),
        ("daemon.ping", r#"{"a":1}"#, r#"daemon.ping takes no params, and got {"a":1}"#),
        ("daemon.ping", "[0]", "got [0]"),
        ("daemon.ping", "false", "got false"),
        ("rpc.discover", r#""x""#, "takes no params"),
    ] {
        let refused = shaped(method, given).unwrap_err();
        assert!(refused.contains(why), "{method} {given}: {refused}");
    }
    assert!(shaped("daemon.ping", &format!("[\"{}\"]", "ä".repeat(1 << 20))).unwrap_err().len() < 200);
}

#[test]
fn a_method_without_params_takes_none_in_any_form() {
    for given in ["", "{}", "[]", "{ }", "[\t\n]"] {
        assert_eq!(shaped("daemon.ping", given), Ok(None), "{given}");
    }
}

#[test]
fn the_id_of_a_subscription_is_left_alone() {
    assert_eq!(shaped("generate.unsubscribe", "[12]").unwrap().as_deref(), Some("[12]"));
    assert_eq!(shaped("generate.unsubscribe", "").unwrap(), None);
}

#[test]
fn every_subscription_is_checked_before_jsonrpsee_decodes_it() {
    let wrong = RawValue::from_string(r#"[{"no such":1}]"#.to_owned()).unwrap();
    for method in openrpc::METHODS.iter().filter(|method| method.event.is_some()) {
        assert!(check(method, &wrong).is_err(), "{} needs an arm in `check`", method.name);
    }
}

async fn check_call(method: &str, params: &str, expected: Value) {
    let server = Server::start(Limits::default());
    let sent = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let answers = Value::Array(server.answers(sent.as_bytes()).await);
    assert!(matches(&answers, &json!([expected])), "{method} {params}: {answers:#}");
}

#[tokio::test]
async fn wrong_params_are_answered_in_serdes_words() {
    for (method, params, why) in [
        ("models.get", "{}", "missing field `model`"),
        ("models.get", r#"{"model":7}"#, "invalid type: integer `7`"),
        ("models.get", r#"{"modle":"a"}"#, "unknown field `modle`, expected"),
        ("generate.text", r#"{"prompt":"a","temperature":1}"#, "unknown field `temperature`, expected one of"),
        ("generate.text", r#"{"prompt":"a","options":{"top_p":"x"}}"#, "invalid type: string \"x\""),
        ("generate.stream", r#"{"promt":"a"}"#, "unknown field `promt`, expected"),
        ("generate.stream", r#"{"prompt":"a","options":7}"#, "invalid type: integer `7`"),
    ] {
        let data = json!({"kind": "invalid_params", "message": format!("~{why}")});
        check_call(method, params, json!({"id": 1, "error": {"code": -32602, "data": data}})).await;
    }
}

#[tokio::test]
async fn serdes_words_come_without_a_position_in_what_was_not_sent() {
    let server = Server::start(Limits::default());
    let sent = br#"{"jsonrpc":"2.0","id":1,"method":"models.get","params":{}}"#;
    let message = server.answers(sent).await[0]["error"]["data"]["message"].clone();
    assert!(!message.as_str().unwrap().contains("column"), "{message}");
}

#[tokio::test]
async fn both_forms_of_right_params_reach_the_method() {
    for params in [r#"{"model":"org/a"}"#, r#"[{"model":"org/a"}]"#, "[\n{ \"model\" : \"org/a\" } ]"] {
        check_call("models.get", &params.replace('\n', " "), json!({"id": 1, "result": {"got": "org/a"}})).await;
    }
}
