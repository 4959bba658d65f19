use super::*;

fn decoded(json: &str) -> Result<Option<GenerateEvent>, Error> {
    decode(&RawValue::from_string(json.into()).expect("JSON"))
}

#[test]
fn an_event_of_a_newer_daemon_is_passed_by() {
    let event = decoded(r#"{"type":"thinking","text":"hm"}"#);
    assert!(matches!(event, Ok(None)), "{event:?}");
}

#[test]
fn a_known_event_with_wrong_fields_is_an_error() {
    for json in [r#"{"type":"text"}"#, r#"{"type":"text","text":1}"#, r#"{"text":"a"}"#, "[]", "null"] {
        let event = decoded(json);
        assert!(matches!(event, Err(Error::Protocol(_))), "{json}: {event:?}");
    }
}

#[test]
fn every_event_of_the_contract_is_known() {
    let schema = serde_json::to_value(protocol::openrpc::document()).expect("JSON");
    let events = schema.pointer("/components/schemas/GenerateEvent/oneOf").and_then(|events| events.as_array());
    let tags = events.expect("one schema per event").iter().map(|event| event.pointer("/properties/type/const"));
    let tags: Vec<_> = tags.map(|tag| tag.and_then(|tag| tag.as_str()).expect("a tag")).collect();
    assert_eq!(tags, KNOWN);
}
