//! What each kind of grammar takes, byte by byte, and what is said of those that cannot be used.

use serde_json::{Value, json};

use super::*;

/// How a grammar takes a text.
#[derive(Debug, PartialEq)]
enum Taken {
    /// It is whole, and nothing may follow.
    Complete,
    /// It is whole, and may go on.
    Enough,
    /// It is the beginning of something.
    Begun,
    /// The byte at this place may not come.
    RefusedAt(usize),
}

fn take(grammar: &Grammar, text: &str) -> Taken {
    let factory = single_bytes().unwrap();
    let Compiled { mut matcher, .. } = grammar.compile(&factory).unwrap();
    for (place, byte) in text.bytes().enumerate() {
        if matcher.is_stopped() || !matcher.compute_mask().unwrap().is_allowed(u32::from(byte)) {
            return Taken::RefusedAt(place);
        }
        matcher.consume_token(u32::from(byte)).unwrap();
    }
    match (matcher.is_stopped(), matcher.is_accepting().unwrap()) {
        (true, _) => Taken::Complete,
        (false, true) => Taken::Enough,
        (false, false) => Taken::Begun,
    }
}

fn schema(schema: &Value) -> Grammar {
    Grammar::JsonSchema(schema.to_string())
}

fn refused(grammar: &Grammar) -> String {
    let error = grammar.check().unwrap_err();
    let factory = single_bytes().unwrap();
    assert_eq!(grammar.compile(&factory).err(), Some(error.clone()), "an engine says the same");
    error.to_string()
}

#[test]
fn a_schema_takes_what_it_allows() {
    let person = schema(&json!({ "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": { "name": { "type": "string", "maxLength": 3 }, "age": { "type": "integer", "maximum": 150 } } }));
    assert_eq!(take(&person, r#"{"name":"Eva"}"#), Taken::Complete);
    assert_eq!(take(&person, r#"{"name":"Eva","age":150}"#), Taken::Complete);
    assert_eq!(take(&person, r#"{"name":"Evan"}"#), Taken::RefusedAt(12));
    assert_eq!(take(&person, r#"{"age""#), Taken::RefusedAt(2));
    assert_eq!(take(&person, r#"{"name":"Eva","age":151}"#), Taken::RefusedAt(22));
    assert_eq!(take(&schema(&json!({ "type": "integer" })), "12"), Taken::Enough);
    assert_eq!(take(&schema(&json!({ "type": "integer" })), "-"), Taken::Begun);
}

#[test]
fn an_object_is_any_object_and_nothing_else() {
    assert_eq!(take(&Grammar::JsonObject, r#"{"a":[1,{"b":null}]}"#), Taken::Complete);
    assert_eq!(take(&Grammar::JsonObject, "[1]"), Taken::RefusedAt(0));
}

#[test]
fn white_space_in_json_has_an_end() {
    for text in ["{ \"a\": 1 }", "{\n  \"a\": [\n    1\n  ]\n}"] {
        assert_eq!(take(&Grammar::JsonObject, text), Taken::Complete, "{text:?}");
    }
    for (text, place) in [("{  ", 2), ("{\n\n", 2), ("{\t", 1), (" {", 0), ("{} ", 2)] {
        assert_eq!(take(&Grammar::JsonObject, text), Taken::RefusedAt(place), "{text:?}");
    }
    assert_eq!(take(&Grammar::JsonObject, &format!("{{\n{}", " ".repeat(16))), Taken::Begun);
    assert_eq!(take(&Grammar::JsonObject, &format!("{{\n{}", " ".repeat(17))), Taken::RefusedAt(18));
}

#[test]
fn a_regular_expression_matches_the_whole_text() {
    let version = Grammar::Regex(r"v[0-9]+\.[0-9]".into());
    assert_eq!(take(&version, "v12.3"), Taken::Complete);
    assert_eq!(take(&version, " v1"), Taken::RefusedAt(0));
    assert_eq!(take(&Grammar::Regex("(ä|/)+".into()), "ä/ä"), Taken::Enough);
}

#[test]
fn lark_derives_from_start() {
    let sum = Grammar::Lark("start: NUMBER (\"+\" NUMBER)* \";\"\nNUMBER: /[0-9]+/".into());
    assert_eq!(take(&sum, "1+22;"), Taken::Complete);
    assert_eq!(take(&sum, "1+;"), Taken::RefusedAt(2));
}

#[test]
fn tokens_that_lark_names_are_left_to_the_engine() {
    let named = Grammar::Lark("start: <end> \"a\"".into());
    assert_eq!(named.check(), Ok(()));
    assert!(named.compile(&single_bytes().unwrap()).unwrap().first.is_allowed(256));
    let unknown = Grammar::Lark("start: <other> \"a\"".into());
    assert_eq!(unknown.check(), Ok(()));
    let error = unknown.compile(&single_bytes().unwrap()).err().unwrap().to_string();
    assert!(error.starts_with("line 1, column 8: unknown special token: \"<other>\""), "{error}");
}

#[test]
fn a_fault_in_a_schema_is_named_with_its_place() {
    let inside = |part: Value| json!({ "type": "object", "properties": { "ok": {}, "a/b": { "items": part } } });
    for (part, fault) in [
        (json!({ "type": "strin" }), "Invalid type: strin"),
        (json!({ "type": "array", "uniqueItems": true }), "Unimplemented keys: [\"uniqueItems\"]"),
        (json!({ "type": "string", "pattern": "a(?!b)" }), "look-around, including look-ahead and look-behind, is not"),
        (json!({ "oneOf": [{ "type": "string" }, { "minLength": 2 }] }), "use anyOf"),
        (json!({ "required": "name" }), "Expected array for 'required'"),
        (json!({ "$ref": "#/$defs/none" }), "'$defs' not found"),
        (json!({ "$ref": "https://example.com/schema" }), "https://example.com/schema"),
    ] {
        let words = refused(&schema(&inside(part)));
        assert!(words.starts_with("/properties/a~1b/items: ") && words.contains(fault), "{words}");
    }
    let behind =
        json!({ "$defs": { "x": { "type": "array", "contains": {} } }, "anyOf": [{}, { "$ref": "#/$defs/x" }] });
    assert_eq!(refused(&schema(&behind)), "/anyOf/1: Unimplemented keys: [\"contains\"]");
}

#[test]
fn a_fault_in_lark_or_in_a_regular_expression_is_named() {
    for (grammar, words) in [
        ("start: x\nx: start b\n", "line 2, column 4: unknown name: \"b\""),
        ("start: x\nx: /a(/\n", "line 2, column 4: invalid regex"),
        ("start: \"a", "line 1, column 10: lexer error"),
        ("", "no start rule found"),
        (
            "start: %json { \"type\": \"strin\" }",
            "line 1, column 8: failed to compile JSON schema: Invalid type: strin",
        ),
    ] {
        let found = refused(&Grammar::Lark(grammar.into()));
        assert!(found.starts_with(words), "{found}");
    }
    for (pattern, words) in
        [("a(", "unclosed group"), ("a(?=b)", "look-around"), (r"\bfoo", "lookarounds not supported")]
    {
        let found = refused(&Grammar::Regex(pattern.into()));
        assert!(found.starts_with("invalid regex") && found.contains(words), "{found}");
    }
}

#[test]
fn what_matches_nothing_is_refused() {
    for part in [json!({ "minimum": 5, "maximum": 3, "type": "integer" }), json!({ "enum": [] })] {
        let words = refused(&schema(&json!({ "type": "array", "items": part, "minItems": 1 })));
        assert!(words.contains("nsatisfiable"), "{words}");
    }
    assert_eq!(refused(&Grammar::Regex("[a&&b]".into())), "it matches nothing");
    assert_eq!(refused(&Grammar::Regex(r"[^\s\S]x".into())), "it matches nothing");
    for endless in ["start: a\na: b\nb: a", "start: \"a\" start", "start: \"a\" (b | c)\nb: start \"b\"\nc: \"c\" b"] {
        assert_eq!(refused(&Grammar::Lark(endless.into())), "it matches nothing");
    }
    let itself = json!({ "type": "object", "properties": { "a": { "$ref": "#" } }, "required": ["a"] });
    assert_eq!(refused(&schema(&itself)), "it matches nothing");
}

#[test]
fn what_ends_somewhere_is_taken() {
    for ends in
        ["start: \"a\" start | \"b\"", "start: (\"a\" start)?", "start: x*\nx: \"a\" start \"b\"", "start: \"\""]
    {
        assert_eq!(Grammar::Lark(ends.into()).check(), Ok(()), "{ends}");
    }
    let list = json!({ "type": "object", "properties": { "next": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] } },
        "required": ["next"] });
    assert_eq!(schema(&list).check(), Ok(()));
}

#[test]
fn what_is_no_schema_is_refused() {
    for (text, words) in [("{", "not JSON"), ("true", "must be an object"), (r#"{"x-guidance":{}}"#, "x-guidance")] {
        let found = refused(&Grammar::JsonSchema(text.into()));
        assert!(found.contains(words), "{found}");
    }
    let nested = format!("{}{}", r#"{"items":"#.repeat(200), "}".repeat(200));
    assert!(refused(&Grammar::JsonSchema(nested)).contains("recursion limit"));
}

#[test]
fn errors_stay_short() {
    let words = refused(&Grammar::Regex("(".repeat(5000)));
    assert!(words.chars().count() < 500, "{words}");
}

#[test]
fn chains_of_rules_do_not_end_the_process() {
    let rules: Vec<String> = (0..8000).map(|rule| format!("r{rule}: r{}\n", rule + 1)).collect();
    assert_eq!(Grammar::Lark(format!("start: r0\n{}r8000: \"a\"", rules.concat())).check(), Ok(()));
    let nested = format!("start: {}\"a\"{}", "(".repeat(20_000), ")".repeat(20_000));
    assert!(refused(&Grammar::Lark(nested)).contains("too deeply nested"));
    let definitions: serde_json::Map<String, Value> = (0..2000)
        .map(|part| (format!("d{part}"), json!({ "allOf": [{ "$ref": format!("#/$defs/d{}", part + 1) }] })))
        .chain([("d2000".to_owned(), json!({ "type": "null" }))])
        .collect();
    assert_eq!(schema(&json!({ "$defs": definitions, "$ref": "#/$defs/d0" })).check(), Ok(()));
}
