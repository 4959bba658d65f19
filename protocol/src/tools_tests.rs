//! Each form on the wire, and what is refused.

use serde_json::json;

use super::*;

fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

fn schema() -> Value {
    json!({ "type": "object", "properties": { "b": {}, "a": {} } })
}

#[test]
fn a_tool_is_taken_alone_and_in_openais_wrapping() {
    let alone = json!({ "name": "f", "description": "does", "parameters": schema(), "strict": true });
    let tool: Tool = parse(&alone).unwrap();
    assert_eq!(serde_json::to_string(&tool).unwrap(), alone.to_string());
    for wrapped in [
        json!({ "type": "function", "function": alone }),
        json!({ "type": "function", "name": "f", "description": "does", "parameters": schema(), "strict": true }),
    ] {
        assert_eq!(parse::<Tool>(&wrapped).unwrap(), tool);
    }
    let least = json!({ "name": "f" });
    assert_eq!(serde_json::to_value(parse::<Tool>(&least).unwrap()).unwrap(), least);
}

#[test]
fn a_call_is_taken_alone_and_in_openais_wrapping_with_arguments_as_text() {
    let alone = json!({ "id": "1", "name": "f", "arguments": { "x": [1] } });
    let call: ToolCall = parse(&alone).unwrap();
    assert_eq!(serde_json::to_value(&call).unwrap(), alone);
    let function = json!({ "name": "f", "arguments": "{\"x\": [1]}" });
    assert_eq!(parse::<ToolCall>(&json!({ "id": "1", "type": "function", "function": function })).unwrap(), call);
}

#[test]
fn a_choice_is_a_word_or_a_name() {
    for (written, choice) in [
        (json!("auto"), ToolChoice::Auto),
        (json!("none"), ToolChoice::None),
        (json!("required"), ToolChoice::Required),
        (json!({ "name": "f" }), ToolChoice::Named("f".into())),
    ] {
        assert_eq!(parse::<ToolChoice>(&written).unwrap(), choice);
        assert_eq!(serde_json::to_value(choice).unwrap(), written);
    }
    let wrapped = json!({ "type": "function", "function": { "name": "f" } });
    assert_eq!(parse::<ToolChoice>(&wrapped).unwrap(), ToolChoice::Named("f".into()));
}

#[test]
fn what_is_no_tool_call_or_choice_is_refused_in_words() {
    let refused = [
        (parse::<Tool>(&json!({})).unwrap_err(), "a tool: missing field `name`"),
        (parse::<Tool>(&json!({ "name": "f", "parameters": [] })).unwrap_err(), "expected a map"),
        (parse::<Tool>(&json!({ "name": "f", "stric": true })).unwrap_err(), "unknown field `stric`"),
        (parse::<Tool>(&json!({ "type": "retrieval" })).unwrap_err(), "not \"retrieval\""),
        (parse::<Tool>(&json!({ "type": "function", "function": 3 })).unwrap_err(), "is an object"),
        (parse::<ToolCall>(&json!({ "id": "1", "name": "f" })).unwrap_err(), "missing field `arguments`"),
        (parse::<ToolCall>(&json!({ "id": "1", "name": "f", "arguments": "{" })).unwrap_err(), "call \"1\""),
        (parse::<ToolChoice>(&json!("any")).unwrap_err(), "tool_choice \"any\" is none of"),
        (parse::<ToolChoice>(&json!(3)).unwrap_err(), "tool_choice 3 is none of"),
        (parse::<ToolChoice>(&json!({ "tool": "f" })).unwrap_err(), "unknown field `tool`"),
    ];
    for (error, words) in refused {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn names_and_sizes_are_bounded() {
    let tool = |name: &str| Tool { name: name.into(), description: None, parameters: None, strict: false };
    assert_eq!(tool("get_weather-2").problem(), None);
    assert_eq!(tool(&"x".repeat(MAX_NAME_BYTES)).problem(), None);
    for name in ["", "a b", "näher", "a.b", &"x".repeat(MAX_NAME_BYTES + 1)] {
        assert!(tool(name).problem().unwrap().contains("is no name of a tool"), "{name}");
    }
    let long = Tool { description: Some("x".repeat(MAX_TOOL_BYTES + 1)), ..tool("f") };
    assert_eq!(long.problem().unwrap(), "tool f: 65537 bytes of description, but 65536 are the most");
    let schema = Map::from_iter([("description".to_owned(), json!("x".repeat(MAX_TOOL_BYTES)))]);
    let long = Tool { parameters: Some(schema), ..tool("f") };
    assert!(long.problem().unwrap().contains("bytes of parameters, but"), "{long:?}");
}
