//! Tools: what a model may call, what it called, and what came of it.
//!
//! Each has one form, the one written here; `OpenAI`'s `{"type": "function", "function": {…}}` around the same fields is
//! taken as well.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Most tools of a request, and most calls of a message.
pub const MAX_TOOLS: usize = 128;

/// Longest name of a tool, and longest id of a call, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Most bytes of a tool: its description and its parameters, each.
pub const MAX_TOOL_BYTES: usize = 64 << 10;

/// Something that an app does for the model. The model calls it by its name; the app runs it and says what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Tool {
    /// 1 to 64 letters, digits, `_` and `-`, unlike those of the other tools.
    pub name: String,
    /// What it does and when to call it, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON schema of an object: the arguments. None are taken when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// Holds the arguments of each call to `parameters`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// One call of a tool by a model.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ToolCall {
    /// Names the call; the message with its result refers to it.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// As the tool's `parameters` describe them; nothing holds a model to that but `strict`.
    pub arguments: Map<String, Value>,
}

/// Whether the model calls tools: `"auto"`, `"none"`, `"required"` or `{"name": "one_of_them"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// It decides.
    #[default]
    Auto,
    /// It is not told of any.
    None,
    /// It calls at least one.
    Required,
    /// It calls this one.
    Named(String),
}

/// Whether the model may reason before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reasoning {
    /// As it does of its own accord.
    #[default]
    Auto,
    /// It answers at once.
    Off,
}

impl Tool {
    /// Why it cannot be one, in words. That `parameters` are a schema is not looked at.
    pub fn problem(&self) -> Option<String> {
        let Self { name, description, parameters, .. } = self;
        if !is_name(name) {
            let shown: String = name.chars().take(MAX_NAME_BYTES).collect();
            return Some(format!("{shown:?} is no name of a tool: 1 to {MAX_NAME_BYTES} letters, digits, `_` and `-`"));
        }
        let written = parameters.as_ref().and_then(|schema| serde_json::to_string(schema).ok());
        let sizes = [("description", description.as_ref()), ("parameters", written.as_ref())];
        let sizes = sizes.map(|(field, text)| (field, text.map_or(0, String::len)));
        let (field, bytes) = sizes.into_iter().find(|(_, bytes)| *bytes > MAX_TOOL_BYTES)?;
        Some(format!("tool {name}: {bytes} bytes of {field}, but {MAX_TOOL_BYTES} are the most"))
    }
}

/// Whether a text can name a tool.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.bytes().all(allowed)
}

impl<'de> Deserialize<'de> for Tool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Form {
            name: String,
            description: Option<String>,
            parameters: Option<Map<String, Value>>,
            strict: Option<bool>,
        }
        let Form { name, description, parameters, strict } = unwrapped(deserializer, "a tool")?;
        Ok(Self { name, description, parameters, strict: strict.unwrap_or_default() })
    }
}

impl<'de> Deserialize<'de> for ToolCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Form {
            id: String,
            name: String,
            arguments: Value,
        }
        let Form { id, name, arguments } = unwrapped(deserializer, "a call of a tool")?;
        let Some(arguments) = object(arguments) else {
            return Err(D::Error::custom(format!(
                "the arguments of call {id:?} are neither an object nor one as text"
            )));
        };
        Ok(Self { id, name, arguments })
    }
}

/// `OpenAI` writes the arguments of a call as text.
fn object(arguments: Value) -> Option<Map<String, Value>> {
    match arguments {
        Value::Object(map) => Some(map),
        Value::String(text) => serde_json::from_str(&text).ok(),
        _ => None,
    }
}

/// The fields of `{"type": "function", "function": {…}}` as if they stood alone; a `type` alone says nothing.
fn unwrapped<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D, what: &str) -> Result<T, D::Error> {
    let mut fields = Map::deserialize(deserializer)?;
    match fields.remove("type") {
        None => {}
        Some(Value::String(kind)) if kind == "function" => {}
        Some(kind) => return Err(D::Error::custom(format!("{what} is of type \"function\", not {kind}"))),
    }
    match fields.remove("function") {
        None => {}
        Some(Value::Object(function)) => fields.extend(function),
        Some(_) => return Err(D::Error::custom(format!("the `function` of {what} is an object"))),
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| D::Error::custom(format!("{what}: {error}")))
}

impl Serialize for ToolChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Required => serializer.serialize_str("required"),
            Self::Named(name) => serializer.collect_map([("name", name)]),
        }
    }
}

impl<'de> Deserialize<'de> for ToolChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Form {
            name: String,
        }
        let unknown = |value: &Value| {
            let words = "is none of \"auto\", \"none\", \"required\" and {\"name\": \"the tool's name\"}";
            D::Error::custom(format!("tool_choice {value} {words}"))
        };
        match Value::deserialize(deserializer)? {
            Value::String(word) => match word.as_str() {
                "auto" => Ok(Self::Auto),
                "none" => Ok(Self::None),
                "required" => Ok(Self::Required),
                _ => Err(unknown(&Value::String(word))),
            },
            value @ Value::Object(_) => {
                unwrapped(value, "tool_choice").map(|Form { name }| Self::Named(name)).map_err(D::Error::custom)
            }
            other => Err(unknown(&other)),
        }
    }
}

impl JsonSchema for ToolChoice {
    fn schema_name() -> Cow<'static, str> {
        "ToolChoice".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether the model calls tools: as it decides, none, at least one, or the one of that name.",
            "oneOf": [
                {"type": "string", "enum": ["auto", "none", "required"]},
                {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"],
                    "additionalProperties": false},
            ],
        })
    }
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
