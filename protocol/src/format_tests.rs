//! Each form on the wire, and what is refused.

use serde_json::json;

use super::*;

fn parse(format: Value) -> Result<ResponseFormat, String> {
    serde_json::from_value(format).map_err(|error| error.to_string())
}

#[test]
fn every_form_comes_back_as_it_was_written() {
    for format in [
        json!({ "type": "text" }),
        json!({ "type": "json_object" }),
        json!({ "type": "json_schema", "schema": { "type": "object", "properties": { "b": {}, "a": {} } } }),
        json!({ "type": "regex", "pattern": "a+" }),
        json!({ "type": "lark", "grammar": "start: \"a\"" }),
    ] {
        let parsed = parse(format.clone()).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), format.to_string());
        assert_eq!(parsed.problem(), None);
    }
}

#[test]
fn unknown_forms_and_fields_are_refused() {
    for (format, words) in [
        (json!({ "type": "yaml" }), "unknown variant `yaml`"),
        (json!({ "pattern": "a" }), "missing field `type`"),
        (json!({ "type": "json_object", "schema": {} }), "unknown field `schema`"),
        (json!({ "type": "text", "x": 1 }), "unknown field `x`"),
        (json!({ "type": "json_schema" }), "missing field `schema`"),
        (json!({ "type": "json_schema", "schema": true }), "expected a map"),
        (json!({ "type": "json_schema", "json_schema": {} }), "unknown field `json_schema`"),
        (json!({ "type": "regex", "pattern": 7 }), "expected a string"),
    ] {
        let error = parse(format).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn sizes_are_bounded() {
    let pattern = |bytes| ResponseFormat::Regex { pattern: "a".repeat(bytes) };
    assert_eq!(pattern(65536).problem(), None);
    let problem = pattern(65537).problem().unwrap();
    assert_eq!(problem, "response_format.pattern has 65537 bytes, but 65536 are the most");
    let schema = Map::from_iter([("description".to_owned(), json!("a".repeat(65536)))]);
    assert!(ResponseFormat::JsonSchema { schema }.problem().unwrap().starts_with("response_format.schema"));
}
