//! Several answers to one prompt, through a whole daemon.

use serde_json::{Value, json};

use crate::support::model::Files;
use crate::support::{Daemon, Start};

fn daemon(change: impl FnOnce(&mut Files)) -> Daemon {
    Start::fake().model("test/samples", change).run()
}

fn request(options: Value) -> Value {
    json!({ "prompt": "abcdef", "options": options })
}

fn of_sample(events: &[Value], sample: u64) -> Vec<&Value> {
    let number = |event: &Value| event.get("sample").map_or(0, |sample| sample.as_u64().unwrap());
    events.iter().filter(|event| event["type"] != "finished" && number(event) == sample).collect()
}

#[test]
fn each_sample_has_its_answer_and_all_are_counted() {
    let daemon = daemon(|_| {});
    let result = daemon.call("generate.text", request(json!({ "n": 3, "logprobs": 0 }))).unwrap();
    assert_eq!((&result["text"], &result["finish_reason"]), (&json!("abcdef"), &json!("stop")));
    let others = result["others"].as_array().unwrap();
    assert_eq!(others.len(), 2);
    for other in others {
        assert_eq!((&other["text"], &other["finish_reason"]), (&json!("abcdef"), &json!("stop")));
        assert_eq!(other["logprobs"].as_array().unwrap().len(), 6);
    }
    assert_eq!((&result["usage"]["prompt_tokens"], &result["usage"]["completion_tokens"]), (&json!(6), &json!(18)));
    let single = daemon.call("generate.text", request(json!({}))).unwrap();
    assert_eq!(single.get("others"), None);
}

#[test]
fn a_stream_tells_the_samples_apart_and_when_each_ends() {
    let daemon = daemon(|_| {});
    let mut connection = daemon.connect();
    connection.stream(request(json!({ "n": 2, "max_tokens": 4 })));
    let events = connection.events_until("finished");
    for sample in 0..2 {
        let events = of_sample(&events, sample);
        let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
        assert_eq!(text, "abcd");
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["finish_reason"]), (&json!("sample_finished"), &json!("length")));
    }
    assert_eq!(events.last().unwrap()["finish_reason"], "length");
    let mut connection = daemon.connect();
    connection.stream(request(json!({})));
    let events = connection.events_until("finished");
    assert!(
        events.iter().all(|event| event["type"] != "sample_finished" && event.get("sample").is_none()),
        "{events:?}"
    );
}

#[test]
fn a_stop_sequence_ends_each_sample_by_itself() {
    let daemon = daemon(|files| files.config["fake"] = json!({ "repeat": 600, "token_ms": 1 }));
    let options = json!({ "n": 2, "max_tokens": 3000, "stop_sequences": ["de"] });
    let result = daemon.call("generate.text", request(options)).unwrap();
    for sample in [&result, &result["others"][0]] {
        assert_eq!((&sample["text"], &sample["finish_reason"]), (&json!("abc"), &json!("stop")));
    }
    assert_eq!(result["usage"]["completion_tokens"], 10);
}

#[test]
fn a_cancel_ends_all_samples_and_says_so_of_each() {
    let daemon = daemon(|files| files.config["fake"] = json!({ "repeat": 600, "token_ms": 1 }));
    let mut connection = daemon.connect();
    let queued = connection.stream(request(json!({ "n": 3, "max_tokens": 3000 })));
    connection.events_until("text");
    daemon.call("generate.cancel", json!({ "request_id": queued["request_id"] })).unwrap();
    let events = connection.events_until("finished");
    for sample in 0..3 {
        let ends: Vec<_> =
            of_sample(&events, sample).into_iter().filter(|it| it["type"] == "sample_finished").collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(ends[0]["finish_reason"], "cancelled");
    }
    assert_eq!(events.last().unwrap()["finish_reason"], "cancelled");
}

#[test]
fn each_sample_calls_tools_and_obeys_a_format() {
    let call = r#"{"name": "f", "arguments": {}}"#;
    let daemon = daemon(|files| {
        files.template =
            "{# <tool_call> #}{% for t in tools or [] %}{{ t.function.name }}{% endfor %}{{ messages[0].content }}"
                .into();
        files.answers("abc", &json!(["<tool_call>", call, "</tool_call>"]));
    });
    let mut with_tools = request(json!({ "n": 2 }));
    with_tools["tools"] = json!([{ "name": "f" }]);
    let result = daemon.call("generate.text", with_tools).unwrap();
    for sample in [&result, &result["others"][0]] {
        assert_eq!((&sample["tool_calls"][0]["name"], &sample["finish_reason"]), (&json!("f"), &json!("tool_calls")));
    }
    let mut held = request(json!({ "n": 2 }));
    held["response_format"] = json!({ "type": "regex", "pattern": "[0-9]{3}" });
    let result = daemon.call("generate.text", held).unwrap();
    for sample in [&result, &result["others"][0]] {
        let text = sample["text"].as_str().unwrap();
        assert!(text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
    }
}

#[test]
fn an_engine_that_fails_fails_all_samples() {
    let daemon = daemon(|files| files.config["fake"] = json!({ "fail_after": 2 }));
    let error = daemon.call("generate.text", request(json!({ "n": 2 }))).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("told to fail"), "{error}");
}
