//! Reads the examples of `protocol/README.md`. Called by the test beside it; a test of the daemon can include it too.

use serde_json::Value;

/// One fenced block of examples: a line for each message.
pub struct Block {
    pub is_request: bool,
    pub messages: Vec<Value>,
}

/// Every block marked as `json request` or `json response`, in order.
pub fn blocks(readme: &str) -> Vec<Block> {
    let marked = ["request", "response"];
    let mut blocks = Vec::new();
    for fence in readme.split("```json ").skip(1) {
        let (info, rest) = fence.split_once('\n').expect("a fence opens a line");
        assert!(marked.contains(&info), "a fence of JSON is marked as one of {marked:?}, not {info:?}");
        let (body, _) = rest.split_once("```").expect("a fence is closed");
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        blocks.push(Block { is_request: info == "request", messages: body.lines().map(parse).collect() });
    }
    blocks
}

/// The value with placeholders replaced by something of their type.
pub fn filled(value: Value) -> Value {
    match value {
        Value::String(text) if text == "<integer>" => 1.into(),
        Value::String(text) if text == "<number>" => 0.5.into(),
        Value::Array(items) => items.into_iter().map(filled).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, filled(value))).collect(),
        other => other,
    }
}

/// Whether a real value is of the shape of an example: equal, but for placeholders.
pub fn fits(example: &Value, real: &Value) -> bool {
    match (example, real) {
        (Value::String(text), real) if text == "<integer>" => real.is_u64(),
        (Value::String(text), real) if text == "<number>" => real.is_number(),
        (Value::String(text), real) if text == "<text>" => real.is_string(),
        (Value::Array(examples), Value::Array(reals)) => {
            examples.len() == reals.len() && examples.iter().zip(reals).all(|(example, real)| fits(example, real))
        }
        (Value::Object(examples), Value::Object(reals)) => {
            examples.len() == reals.len()
                && examples.iter().all(|(name, example)| reals.get(name).is_some_and(|real| fits(example, real)))
        }
        (example, real) => example == real,
    }
}
