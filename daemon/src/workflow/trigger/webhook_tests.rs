use serde_json::json;

use super::*;

fn read(media_type: Option<&str>, body: &[u8]) -> Result<Value, u16> {
    inputs(media_type, body.to_vec()).map(Value::Object).map_err(|refusal| refusal.status)
}

#[test]
fn a_body_is_inputs_or_a_transcript() {
    let text = |text: &str| Ok(json!({ "TRANSCRIPT": text }));
    for (media_type, body, expected) in [
        (None, "", Ok(json!({}))),
        (None, "words", text("words")),
        (None, r#"{"a":1}"#, Ok(json!({ "a": 1 }))),
        (None, "[1]", text("[1]")),
        (Some("application/x-www-form-urlencoded"), r#"{"a":1}"#, Ok(json!({ "a": 1 }))),
        (Some("text/plain"), r#"{"a":1}"#, text(r#"{"a":1}"#)),
        (Some("application/json"), r#"{"a":1}"#, Ok(json!({ "a": 1 }))),
        (Some("application/json"), "[1]", Err(400)),
        (Some("application/vnd.x+json"), "{", Err(400)),
        (Some("multipart/form-data"), "words", Err(415)),
    ] {
        assert_eq!(read(media_type, body.as_bytes()), expected, "{media_type:?} {body}");
    }
    assert_eq!(read(None, &[0xff]), Err(415));
}

#[test]
fn tokens_are_compared_whole() {
    let secret = |text: &str| SecretString::from(text.to_owned());
    assert!(is_same(&secret("open"), &secret("open")));
    for other in ["", "ope", "openn", "Open"] {
        assert!(!is_same(&secret(other), &secret("open")), "{other}");
    }
}
