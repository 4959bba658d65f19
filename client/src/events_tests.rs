use protocol::GenerateEvent;
use serde_json::Value;

use super::*;
use crate::answer::KNOWN;

fn decoded<T: StreamEvent>(json: &str) -> Result<Option<T>, Error> {
    decode(&RawValue::from_string(json.into()).expect("JSON"))
}

#[test]
fn an_event_of_a_newer_daemon_is_passed_by() {
    let text = decoded::<GenerateEvent>(r#"{"type":"thinking","text":"hm"}"#);
    assert!(matches!(text, Ok(None)), "{text:?}");
    let change = decoded::<ModelEvent>(r#"{"seq":1,"type":"renamed","model":"org/x"}"#);
    assert!(matches!(change, Ok(None)), "{change:?}");
    let pull = decoded::<PullEvent>(r#"{"pull":{"model":"org/x","state":"unpacking"}}"#);
    assert!(matches!(pull, Ok(None)), "{pull:?}");
}

#[test]
fn a_known_event_with_wrong_fields_is_an_error() {
    for json in [r#"{"type":"text"}"#, r#"{"type":"text","text":1}"#, r#"{"text":"a"}"#, "[]", "null"] {
        let event = decoded::<GenerateEvent>(json);
        assert!(matches!(event, Err(Error::Protocol(_))), "{json}: {event:?}");
    }
    for json in [r#"{"seq":1,"type":"loaded"}"#, r#"{"type":"loaded","model":"org/x"}"#, "7"] {
        let event = decoded::<ModelEvent>(json);
        assert!(matches!(event, Err(Error::Protocol(_))), "{json}: {event:?}");
    }
    for json in [r#"{"pull":{"model":"org/x","state":"done"}}"#, r#"{"pull":7}"#, "{}"] {
        let event = decoded::<PullEvent>(json);
        assert!(matches!(event, Err(Error::Protocol(_))), "{json}: {event:?}");
    }
}

/// The tags that the contract has for a kind of event.
fn tags(schema: &str) -> Vec<String> {
    let document = serde_json::to_value(protocol::openrpc::document()).expect("JSON");
    let events = document.pointer(&format!("/components/schemas/{schema}/oneOf")).and_then(Value::as_array);
    let tags = events.expect("one schema per event").iter().map(|event| event.pointer("/properties/type/const"));
    tags.map(|tag| tag.and_then(Value::as_str).expect("a tag").to_owned()).collect()
}

#[test]
fn every_event_of_the_contract_is_known() {
    assert_eq!(tags("GenerateEvent"), KNOWN);
    assert_eq!(tags("ModelEvent"), KNOWN_CHANGES);
}
