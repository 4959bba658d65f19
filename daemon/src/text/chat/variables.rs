//! A conversation and its tools as templates know them: `transformers`' dictionaries, whose form is `OpenAI`'s.
//!
//! Called by `chat.rs` for each rendering.

use std::io;

use minijinja::value::{Serde, Value};
use protocol::message::{Message, Role};
use protocol::tools::{Tool, ToolCall};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value as Json, json};

/// How the arguments of earlier calls are given to a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arguments {
    /// As `transformers` documents it.
    Objects,
    /// As `OpenAI` does, for templates that put them together with other texts.
    Texts,
}

/// The messages, the system prompt first.
pub(super) fn messages(system_prompt: Option<&str>, messages: &[Message], arguments: Arguments) -> Vec<Value> {
    let system = system_prompt.map(|content| message(&Message::new(Role::System, content), arguments));
    system.into_iter().chain(messages.iter().map(|turn| message(turn, arguments))).collect()
}

fn message(message: &Message, arguments: Arguments) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut pairs = vec![("role", Value::from(role)), ("content", Value::from(message.content.as_str()))];
    if !message.tool_calls.is_empty() {
        let calls: Vec<Value> = message.tool_calls.iter().map(|it| call(it, arguments)).collect();
        pairs.push(("tool_calls", Value::from(calls)));
    }
    let texts = [
        ("name", &message.name),
        ("tool_call_id", &message.tool_call_id),
        // The one name is what `transformers` calls it, the other is what gpt-oss reads.
        ("reasoning_content", &message.reasoning),
        ("thinking", &message.reasoning),
    ];
    pairs.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text.as_deref()?)))));
    Value::from_pairs(pairs)
}

fn call(ToolCall { id, name, arguments }: &ToolCall, form: Arguments) -> Value {
    let arguments = match form {
        Arguments::Objects => Value::from(Serde(arguments)),
        Arguments::Texts => Value::from(spaced(&Json::Object(arguments.clone()))),
    };
    let function = Value::from_pairs([("name", Value::from(name.as_str())), ("arguments", arguments)]);
    let kind = Value::from("function");
    Value::from_pairs([("id", Value::from(id.as_str())), ("type", kind), ("function", function)])
}

/// The tools; `None` in the template's language where there are none.
pub(super) fn tools(tools: &[Tool]) -> Value {
    if tools.is_empty() {
        return Value::from(());
    }
    let wrapped = |tool: &Tool| json!({ "type": "function", "function": function(tool) });
    Value::from(tools.iter().map(|tool| Value::from(Serde(wrapped(tool)))).collect::<Vec<Value>>())
}

/// A tool as its own object; one without parameters takes an object without properties.
fn function(Tool { name, description, parameters, .. }: &Tool) -> Json {
    let mut function = Map::from_iter([("name".to_owned(), json!(name))]);
    if let Some(description) = description {
        function.insert("description".to_owned(), json!(description));
    }
    let parameters = parameters.clone().map_or_else(|| json!({ "type": "object", "properties": {} }), Json::Object);
    function.insert("parameters".to_owned(), parameters);
    Json::Object(function)
}

/// The tools within the system message, as the templates of Phi 4 Mini want them: a text of JSON, under `tools`.
pub(super) fn put_into_system(messages: &mut Vec<Value>, tools: &[Tool]) {
    let list = Value::from(spaced(&tools.iter().map(function).collect()));
    let is_system = |first: &Value| first.get_attr("role").is_ok_and(|role| role.as_str() == Some("system"));
    let content = match messages.first().filter(|first| is_system(first)) {
        Some(first) => first.get_attr("content").unwrap_or_default(),
        None => Value::from(""),
    };
    let with_tools = Value::from_pairs([("role", Value::from("system")), ("content", content), ("tools", list)]);
    match messages.first_mut().filter(|first| is_system(first)) {
        Some(first) => *first = with_tools,
        None => messages.insert(0, with_tools),
    }
}

/// JSON as Python writes it, which is what models are trained on: a space behind each `,` and `:`.
fn spaced(json: &Json) -> String {
    let mut bytes = Vec::new();
    let written = json.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced));
    written.expect("a value of JSON can be written");
    String::from_utf8(bytes).expect("JSON is text")
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
#[path = "variables_tests.rs"]
mod tests;
