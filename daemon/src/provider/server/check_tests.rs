use serde_json::json;

use super::*;

fn outcome(format: serde_json::Value, pieces: &[&str]) -> Result<(), String> {
    let format: ResponseFormat = serde_json::from_value(format).expect("a format");
    let mut check = Check::of(Some(&format)).expect("it is checked");
    for piece in pieces {
        check.take(piece);
    }
    check.finish(&"cluster".into()).map_err(|error| error.message)
}

#[test]
fn json_is_an_object_or_what_the_schema_allows() {
    let object = json!({"type": "json_object"});
    assert_eq!(outcome(object.clone(), &["{\"a\"", ": 1}\n"]), Ok(()));
    assert!(outcome(object.clone(), &["[1]"]).is_err_and(|why| why.contains("no JSON object")));
    assert!(outcome(object, &["Sure! {}"]).is_err_and(|why| why.contains("did not heed response_format")));
    let schema = json!({"type": "json_schema", "schema": {"type": "object", "required": ["a"]}});
    assert_eq!(outcome(schema.clone(), &["{\"a\": 1}"]), Ok(()));
    assert!(outcome(schema, &["{\"secret\": 1}"]).is_err_and(|why| !why.contains("secret") && why.contains("\"a\"")));
}

#[test]
fn other_formats_are_not_looked_at() {
    assert!(Check::of(None).is_none());
    assert!(Check::of(Some(&ResponseFormat::Text {})).is_none());
}
