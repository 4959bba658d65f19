use serde_json::{Value, json};

use super::super::testing::{Server, matches};
use super::super::{Limits, json as scan};

/// What is sent, and all that is answered before the server closes too.
async fn check(name: &str, sent: &[u8], expected: Value) {
    let server = Server::start(Limits { batch: 4, ..Limits::default() });
    let answers = Value::Array(server.answers(sent).await);
    assert!(matches(&answers, &expected), "{name}\nanswered: {answers:#}\nexpected: {expected:#}");
    server.check_alive().await;
}

fn error(id: &Value, code: i32, why: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "data": {"message": format!("~{why}")}}})
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn of_params(params: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"generate.text","params":{params}}}"#).into_bytes()
}

#[tokio::test]
async fn what_is_no_json_is_a_parse_error_and_the_next_line_is_served() {
    let null = Value::Null;
    let pong = json!({"id": "p", "result": "pong"});
    let good = r#"{"jsonrpc":"2.0","id":"p","method":"daemon.ping"}"#;
    let deep = nested(10_000);
    for (name, line, why) in [
        ("cut", r#"{"jsonrpc":"2.0","id":1"#.to_owned(), "line 1 column 23"),
        ("a word", r#"{"jsonrpc":"2.0","id":1,"method":ping}"#.to_owned(), "expected value at line 1 column 34"),
        ("more behind it", format!("{good} {good}"), "trailing characters"),
        ("a batch that is cut", format!("[{good},"), "EOF while parsing"),
        ("a batch with a comma too many", format!("[{good},]"), "trailing comma"),
        ("deep params", String::from_utf8(of_params(&deep)).unwrap(), "nested deeper than 126"),
        ("deep id", format!(r#"{{"jsonrpc":"2.0","method":"daemon.ping","id":{deep}}}"#), "nested deeper"),
        ("deep stranger", format!(r#"{{"jsonrpc":"2.0","method":"daemon.ping","id":1,"x":{deep}}}"#), "nested deeper"),
        ("deep", deep.clone(), "nested deeper"),
        ("deep and never closed", "[{\"a\":".repeat(10_000), "nested deeper"),
    ] {
        let sent = format!("{line}\n{good}\n");
        check(name, sent.as_bytes(), json!([error(&null, -32700, why), pong])).await;
    }
    let noise = [b"{".as_slice(), &[0xff, 0xfe, 0, 1, 2, 0x80], b"}\n", good.as_bytes()].concat();
    check("binary", &noise, json!([error(&null, -32700, "no UTF-8 after byte 1"), pong])).await;
}

#[tokio::test]
async fn json_that_is_no_request_is_an_invalid_request() {
    let null = Value::Null;
    for (name, sent, id, why) in [
        ("no version", r#"{"id":1,"method":"daemon.ping"}"#, json!(1), "`jsonrpc` is missing"),
        ("version 1", r#"{"jsonrpc":"1.0","id":1,"method":"daemon.ping"}"#, json!(1), r#"is "2.0", not "1.0""#),
        ("a number as version", r#"{"jsonrpc":2.0,"id":1,"method":"daemon.ping"}"#, json!(1), "not 2.0"),
        ("no method", r#"{"jsonrpc":"2.0","id":"a"}"#, json!("a"), "`method` is missing"),
        ("a number as method", r#"{"jsonrpc":"2.0","id":1,"method":7}"#, json!(1), "`method` is a string, not 7"),
        ("a fraction as id", r#"{"jsonrpc":"2.0","id":1.5,"method":"daemon.ping"}"#, null.clone(), "not 1.5"),
        ("an object as id", r#"{"jsonrpc":"2.0","id":{},"method":"daemon.ping"}"#, null.clone(), "not {}"),
        (
            "two methods",
            r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#,
            null.clone(),
            "duplicate field `method`",
        ),
        ("no version in a notification", r#"{"method":"daemon.ping"}"#, null.clone(), "`jsonrpc` is missing"),
        ("an answer", r#"{"jsonrpc":"2.0","id":1,"result":1}"#, json!(1), "`method` is missing"),
        ("an empty batch", "[]", null.clone(), "empty batch"),
        ("an empty batch with space in it", "[ \t ]", null.clone(), "empty batch"),
    ] {
        check(name, sent.as_bytes(), json!([error(&id, -32600, why)])).await;
    }
    let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"daemon.ping"}}"#, "i".repeat(2000));
    check("a long id", long_id.as_bytes(), json!([error(&null, -32600, "an id of 2002 bytes exceeds 1024")])).await;
    check("a bare number", b" 5\n", json!([error(&null, -32600, "expected a request object")])).await;
}

#[tokio::test]
async fn a_request_is_answered_whatever_its_spacing_and_its_id() {
    for (name, sent, id) in [
        ("plain", r#"{"jsonrpc":"2.0","id":1,"method":"daemon.ping"}"#, json!(1)),
        ("without a newline but finished", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.ping\"}", json!(1)),
        ("spaced", "\r\n \n { \"id\" : 1 , \"jsonrpc\" : \"2.0\" , \"method\" : \"daemon.ping\" } \r\n\n", json!(1)),
        ("id null", r#"{"jsonrpc":"2.0","id":null,"method":"daemon.ping"}"#, Value::Null),
        ("id text", r#"{"jsonrpc":"2.0","id":"ü\n","method":"daemon.ping"}"#, json!("ü\n")),
        ("largest id", r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"daemon.ping"}"#, json!(u64::MAX)),
        ("escaped method", r#"{"jsonrpc":"2.0","id":1,"method":"daemon.\u0070ing"}"#, json!(1)),
        ("strange members", r#"{"jsonrpc":"2.0","id":1,"method":"daemon.ping","trace":{"a":[1]}}"#, json!(1)),
        ("params null", r#"{"jsonrpc":"2.0","id":1,"method":"daemon.ping","params":null}"#, json!(1)),
    ] {
        check(name, sent.as_bytes(), json!([{"jsonrpc": "2.0", "id": id, "result": "pong"}])).await;
    }
    let twice = [super::super::testing::PING, super::super::testing::PING].concat();
    let pong = json!({"id": "p", "result": "pong"});
    check("the same id twice", &twice, json!([pong, pong])).await;
}

#[tokio::test]
async fn a_batch_is_answered_once_and_in_order() {
    let call = |id: u32| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"daemon.ping"}}"#);
    let silent = r#"{"jsonrpc":"2.0","method":"daemon.ping"}"#;
    let pong = |id: u32| json!({"id": id, "result": "pong"});
    let mixed = format!(r#"[{},{silent},7,{{"jsonrpc":"2.0","id":2,"method":"daemon.pong"}}]"#, call(1));
    let null = Value::Null;
    let refused =
        [error(&null, -32600, "expected a request object"), error(&json!(2), -32601, "did you mean daemon.ping")];
    check("mixed", mixed.as_bytes(), json!([[pong(1), refused[0], refused[1]]])).await;
    check("silent", format!("[{silent},{silent}]\n").as_bytes(), json!([])).await;
    check(
        "full",
        format!("[{},{},{},{}]", call(1), call(2), call(3), call(4)).as_bytes(),
        json!([[pong(1), pong(2), pong(3), pong(4)]]),
    )
    .await;
    let nested = error(&null, -32600, "an array is no request");
    check("a batch in a batch", format!("[[{}]]", call(1)).as_bytes(), json!([[nested]])).await;
    let long = format!("[{}]", vec!["1"; 100_000].join(","));
    check("too long", long.as_bytes(), json!([error(&null, -32010, "a batch of 100000 requests exceeds 4")])).await;
    let stream = r#"[{"jsonrpc":"2.0","id":1,"method":"generate.stream","params":{"prompt":"a"}}]"#;
    check("a subscription", stream.as_bytes(), json!([[error(&json!(1), -32600, "stands alone")]])).await;
}

#[tokio::test]
async fn depth_at_the_limit_reaches_the_method() {
    // Two levels are the request's own: its object, and the object that `params` is.
    let allowed = format!(r#"{{"prompt":{}}}"#, nested(scan::MAX_DEPTH - 2));
    let why = "invalid type: sequence, expected a string";
    check("allowed", &of_params(&allowed), json!([error(&json!(1), -32602, why)])).await;
    let too_deep = format!(r#"{{"prompt":{}}}"#, nested(scan::MAX_DEPTH - 1));
    check("too deep", &of_params(&too_deep), json!([error(&Value::Null, -32700, "nested deeper")])).await;
}
