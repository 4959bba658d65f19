//! Calls in Qwen 3 Coder's manner: `<function=name><parameter=key>value</parameter></function>`.
//!
//! Values are written bare; only the tool's schema tells a number from a text. Called by `calls`.

use protocol::tools::Tool;
use serde_json::{Map, Value};

use super::Call;

/// The one call of a body.
pub(super) fn call(body: &str, tools: &[Tool]) -> Option<Call> {
    let (name, inside) = body.trim().strip_prefix("<function=")?.split_once('>')?;
    let mut rest = inside.trim_end().strip_suffix("</function>")?.trim();
    let tool = tools.iter().find(|tool| tool.name == name);
    let mut arguments = Map::new();
    while !rest.is_empty() {
        let (key, value_on) = rest.strip_prefix("<parameter=")?.split_once('>')?;
        let (value, behind) = value_on.split_once("</parameter>")?;
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        arguments.insert(key.to_owned(), typed(value, tool.and_then(|tool| property(tool, key))));
        rest = behind.trim_start();
    }
    Some(Call { name: name.to_owned(), arguments })
}

fn property<'a>(tool: &'a Tool, key: &str) -> Option<&'a Value> {
    tool.parameters.as_ref()?.get("properties")?.get(key)
}

/// A text where the schema says so or where it is no JSON.
fn typed(value: &str, schema: Option<&Value>) -> Value {
    let text = || Value::String(value.to_owned());
    match schema.and_then(|schema| schema.get("type")) {
        Some(kind) if kind == "string" => text(),
        Some(_) => serde_json::from_str(value).unwrap_or_else(|_| text()),
        None => {
            serde_json::from_str(value).ok().filter(|it: &Value| it.is_object() || it.is_array()).unwrap_or_else(text)
        }
    }
}
