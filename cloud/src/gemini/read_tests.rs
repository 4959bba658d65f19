use super::*;

/// What comes of these events and the end of the body.
fn read(events: &[&str]) -> Result<Vec<Piece>, Error> {
    let (mut reader, mut due) = (Reader::new(Arc::default()), VecDeque::new());
    for event in events.iter().map(|event| Some(event.as_bytes())).chain([None]) {
        if reader.take(event, &mut due)? {
            break;
        }
    }
    Ok(due.into())
}

fn finished(reason: Reason) -> Piece {
    Piece::Finished { reason, usage: Usage::default() }
}

#[test]
fn an_answer_ends_with_its_reason_and_its_count() {
    let pieces = read(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true}],"role":"model"},"index":0}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"The Rhine","thoughtSignature":"x"}],"role":"model"}}],"modelVersion":"g"}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"."}]},"finishReason":"STOP","safetyRatings":[]}],
            "usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":4,"thoughtsTokenCount":2,"cachedContentTokenCount":3,"totalTokenCount":11}}"#,
    ]);
    let usage = Usage { prompt_tokens: 5, completion_tokens: 6, cached_tokens: 3, ..Usage::default() };
    let expected = [
        Piece::Reasoning("Hm.".into()),
        Piece::Text("The Rhine".into()),
        Piece::Text(".".into()),
        Piece::Finished { reason: Reason::Stop, usage },
    ];
    assert_eq!(pieces.expect("an answer"), expected);
}

#[test]
fn an_answer_without_its_end_broke_off() {
    let begun = r#"{"candidates":[{"content":{"parts":[{"text":"The"}]}}]}"#;
    assert!(matches!(read(&[begun]), Err(Error::Interrupted(_))));
    assert!(matches!(read(&[]), Err(Error::Interrupted(_))));
}

#[test]
fn calls_come_whole_and_get_a_name_where_they_have_none() {
    let pieces = read(&[r#"{"candidates":[{"content":{"parts":[
        {"functionCall":{"name":"weather","args":{"city":"Bonn"}},"thoughtSignature":"s"},
        {"functionCall":{"id":"b","name":"time"}}]},"finishReason":"STOP"}]}"#]);
    let call = |index: u32, id: &str, name: &str| Piece::ToolCall { index, id: id.into(), name: name.into() };
    let arguments = |index: u32, text: &str| Piece::ToolArguments { index, text: text.into() };
    let expected = [
        call(0, "call_0", "weather"),
        arguments(0, "{\"city\":\"Bonn\"}"),
        call(1, "b", "time"),
        arguments(1, "{}"),
        finished(Reason::ToolCalls),
    ];
    assert_eq!(pieces.expect("calls"), expected);
}

#[test]
fn what_is_withheld_says_why() {
    let prompt = read(&[r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}"#]);
    assert_eq!(prompt, Ok(vec![finished(Reason::Blocked("the prompt: PROHIBITED_CONTENT".into()))]));
    for reason in ["SAFETY", "RECITATION", "SPII", "SOMETHING_NEW"] {
        let event = format!(r#"{{"candidates":[{{"finishReason":"{reason}"}}]}}"#);
        assert_eq!(read(&[&event]), Ok(vec![finished(Reason::Blocked(reason.into()))]));
    }
    assert_eq!(read(&[r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#]), Ok(vec![finished(Reason::Length)]));
}

#[test]
fn a_call_that_the_model_spoiled_is_an_error() {
    let event = r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"no such tool"}]}"#;
    assert_eq!(read(&[event]), Err(Error::Failed("MALFORMED_FUNCTION_CALL: no such tool".into())));
}

#[test]
fn what_is_no_part_of_an_answer_is_an_error() {
    assert!(matches!(read(&["{\"candidates\": 3}"]), Err(Error::Malformed(_))));
    let failed = read(&[r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#]);
    assert_eq!(failed, Err(Error::Failed("The model is overloaded.".into())));
}
