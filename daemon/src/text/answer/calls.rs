//! What stands between the marks of a call, read as each family writes it.
//!
//! Called by `tagged`, with whole calls only. A body that is not wholly understood is none.

use protocol::tools::{Tool, is_name};
use serde_json::{Deserializer, Map, Value};

use super::super::dialect::Family;
use super::{Call, literal, xml};

/// The calls of a body, at least one; `None` where it is no call.
pub(super) fn read(family: Family, body: &str, tools: &[Tool]) -> Option<Vec<Call>> {
    let calls = match family {
        Family::Hermes => from_json(body)?,
        Family::Xml => vec![xml::call(body, tools)?],
        // Without marks, any JSON with a name would do.
        Family::Llama => {
            let is_known = |call: &Call| tools.iter().any(|tool| tool.name == call.name);
            from_json(body).filter(|calls| calls.iter().all(is_known))?
        }
        Family::Mistral => from_json(body).or_else(|| from_headers(body))?,
        // One of its marks takes the bracket with it.
        Family::Phi => from_json(body).or_else(|| from_json(&format!("[{body}")))?,
        Family::Gemma => vec![literal::gemma_call(body)?],
        Family::Lfm => literal::python_calls(body).or_else(|| from_json(body))?,
        Family::Harmony => return None,
    };
    let is_call = |call: &Call| is_name(&call.name);
    (!calls.is_empty() && calls.iter().all(is_call)).then_some(calls)
}

/// An object, a list of them, or several with `;`, `,` or white space between.
fn from_json(body: &str) -> Option<Vec<Call>> {
    let mut calls = Vec::new();
    let mut rest = body.trim();
    while !rest.is_empty() {
        let (value, behind) = first_value(rest)?;
        match value {
            Value::Array(list) => calls.extend(list.into_iter().map(call).collect::<Option<Vec<Call>>>()?),
            value => calls.push(call(value)?),
        }
        rest = behind.trim_start_matches(|next: char| next.is_whitespace() || next == ';' || next == ',');
    }
    Some(calls)
}

/// `{"name": …, "arguments": …}`, or `parameters` as Llama has it.
fn call(value: Value) -> Option<Call> {
    let Value::Object(mut fields) = value else { return None };
    let Value::String(name) = fields.remove("name")? else { return None };
    let given = fields.remove("arguments").or_else(|| fields.remove("parameters")).unwrap_or_default();
    Some(Call { name, arguments: arguments(given)? })
}

/// An object, or one written as text; nothing where nothing is given.
pub(super) fn arguments(given: Value) -> Option<Map<String, Value>> {
    match given {
        Value::Object(map) => Some(map),
        Value::String(text) => serde_json::from_str(&text).ok(),
        Value::Null => Some(Map::new()),
        _ => None,
    }
}

/// `name[ARGS]{…}`, perhaps with `[CALL_ID]…` behind the name, once or several times.
fn from_headers(body: &str) -> Option<Vec<Call>> {
    let mut calls = Vec::new();
    let mut rest = body.trim();
    while !rest.is_empty() {
        let header = rest.strip_prefix("[TOOL_CALLS]").unwrap_or(rest).trim_start();
        let (names, given) = header.split_once("[ARGS]")?;
        let name = names.split_once("[CALL_ID]").map_or(names, |(name, _)| name).trim();
        let (value, behind) = first_value(given)?;
        calls.push(Call { name: name.to_owned(), arguments: arguments(value)? });
        rest = behind.trim_start();
    }
    Some(calls)
}

/// The JSON at the beginning of a text, and what is behind it.
fn first_value(text: &str) -> Option<(Value, &str)> {
    let mut values = Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, &text[values.byte_offset()..]))
}
