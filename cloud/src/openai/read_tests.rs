use serde_json::json;

use super::*;

/// What comes of these events and the end of the body.
fn read(events: &[&str]) -> Result<Vec<Piece>, Error> {
    let (mut reader, mut due) = (Reader::default(), VecDeque::new());
    for event in events.iter().map(|event| Some(event.as_bytes())).chain([None]) {
        if reader.take(event, &mut due)? {
            break;
        }
    }
    Ok(due.into())
}

fn delta(delta: &serde_json::Value, reason: &serde_json::Value) -> String {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}).to_string()
}

/// The end of an answer in so many pieces that the server has not counted.
fn finished(reason: Reason, pieces: u32) -> Piece {
    Piece::Finished { reason, usage: Usage { completion_tokens: pieces, ..Usage::default() } }
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

#[test]
fn an_answer_ends_with_its_reason_and_its_count() {
    let role = delta(&json!({"role": "assistant", "content": ""}), &json!(null));
    let hello = delta(&json!({"content": "Hello"}), &json!(null));
    let stop = delta(&json!({}), &json!("stop"));
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}"#;
    let pieces = read(&[&role, &hello, &stop, usage, "[DONE]"]).expect("an answer");
    let usage = Usage { prompt_tokens: 3, completion_tokens: 1, cached_tokens: 2, ..Usage::default() };
    assert_eq!(pieces, [text("Hello"), Piece::Finished { reason: Reason::Stop, usage }]);
    // A server that forgets the last line has still said that it is done.
    assert_eq!(read(&[&hello, &stop]).expect("an answer"), [text("Hello"), finished(Reason::Stop, 1)]);
}

#[test]
fn an_answer_without_its_end_broke_off() {
    let hello = delta(&json!({"content": "Hello"}), &json!(null));
    for events in [&[&*hello][..], &[&hello, "[DONE]"], &[]] {
        assert!(matches!(read(events), Err(Error::Interrupted(_))), "{events:?}");
    }
}

#[test]
fn calls_come_in_pieces_by_their_number() {
    let call = |index: u32, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let call =
            json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        delta(&json!({"tool_calls": [call]}), &json!(null))
    };
    let events = [
        call(0, Some("a"), Some("weather"), ""),
        call(0, None, None, "{\"city\":"),
        call(1, Some("b"), Some("time"), ""),
        call(0, None, None, " \"Bonn\"}"),
        delta(&json!({}), &json!("tool_calls")),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let call = |index: u32, id: &str, name: &str| Piece::ToolCall { index, id: id.into(), name: name.into() };
    let arguments = |index: u32, text: &str| Piece::ToolArguments { index, text: text.into() };
    let expected = [
        call(0, "a", "weather"),
        arguments(0, "{\"city\":"),
        call(1, "b", "time"),
        arguments(0, " \"Bonn\"}"),
        arguments(1, "{}"),
        finished(Reason::ToolCalls, 4),
    ];
    assert_eq!(read(&events).expect("calls"), expected);
}

#[test]
fn a_server_that_numbers_no_calls_sends_them_whole() {
    let call = |name: &str| json!({"function": {"name": name, "arguments": "{\"a\":1}"}});
    let both = delta(&json!({"tool_calls": [call("one"), call("two")]}), &json!("stop"));
    let pieces = read(&[&both]).expect("calls");
    let names: Vec<String> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::ToolCall { index, id, name } => Some(format!("{index} {id} {name}")),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["0 call_0 one", "1 call_1 two"]);
    assert_eq!(pieces.last(), Some(&finished(Reason::ToolCalls, 4)));
}

#[test]
fn arguments_that_are_no_object_are_an_error() {
    for (arguments, reason) in [("[1]", "tool_calls"), ("{\"a\":", "tool_calls")] {
        let call = json!({"index": 0, "id": "a", "function": {"name": "one", "arguments": arguments}});
        let event = delta(&json!({"tool_calls": [call]}), &json!(reason));
        assert!(matches!(read(&[&event]), Err(Error::Malformed(_))), "{arguments}");
    }
    let cut = json!({"index": 0, "id": "a", "function": {"name": "one", "arguments": "{\"a\":"}});
    let error = read(&[&delta(&json!({"tool_calls": [cut]}), &json!("length"))]).expect_err("it was cut");
    assert!(matches!(&error, Error::Invalid(words) if words.contains("max_tokens")), "{error}");
}

#[test]
fn what_is_withheld_says_why() {
    let filtered = delta(&json!({}), &json!("content_filter"));
    assert_eq!(read(&[&filtered]).expect("an end"), [finished(Reason::Blocked("content_filter".into()), 0)]);
    let refused =
        [delta(&json!({"refusal": "I can't "}), &json!(null)), delta(&json!({"refusal": "do that."}), &json!("stop"))];
    let pieces = read(&[&refused[0], &refused[1]]).expect("an end");
    assert_eq!(pieces, [finished(Reason::Blocked("I can't do that.".into()), 0)]);
}

#[test]
fn reasoning_has_two_names() {
    for name in ["reasoning", "reasoning_content"] {
        let event = delta(&json!({name: "Hm.", "content": null}), &json!("length"));
        assert_eq!(read(&[&event]).expect("an end"), [Piece::Reasoning("Hm.".into()), finished(Reason::Length, 1)]);
    }
}

#[test]
fn what_is_no_chunk_is_an_error() {
    assert!(matches!(read(&["<html>"]), Err(Error::Malformed(_))));
    assert!(matches!(read(&["[1]"]), Err(Error::Malformed(_))));
    let failed = read(&[r#"{"error": {"message": "out of memory"}}"#]);
    assert_eq!(failed, Err(Error::Failed("out of memory".into())));
}
