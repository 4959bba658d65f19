//! What `transform` steps do.

use serde_json::Value;

use crate::MOST_OUTPUT_BYTES;
use crate::file::{Group, Transform};
use crate::problem::{listed, nearest, quote};
use crate::scope::{PREVIOUS_OUTPUT, Scope};
use crate::template::{Expression, RenderError, output_bytes};

/// Most keys that are named of an object.
const MOST_KEYS: usize = 8;

/// Why a transform gives nothing, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransformError(String);

impl From<RenderError> for TransformError {
    fn from(error: RenderError) -> Self {
        Self(format!("`from`: {error}"))
    }
}

impl Transform {
    /// The output.
    pub fn output(&self, scope: &Scope) -> Result<Value, TransformError> {
        let value = match &self.from {
            Some(from) => from.value(scope)?,
            None => Expression::unchecked(PREVIOUS_OUTPUT.into(), 0).value(scope)?,
        };
        let output = self.apply(value)?;
        let bytes = output_bytes(&output);
        if bytes > MOST_OUTPUT_BYTES {
            return refuse(format!("it gives {bytes} bytes, but {MOST_OUTPUT_BYTES} are the most"));
        }
        Ok(output)
    }

    fn apply(&self, value: Value) -> Result<Value, TransformError> {
        if let Some(pointer) = &self.pointer {
            return pointed(&pointer.0, &value);
        }
        if let Some(regex) = &self.regex {
            let group = self.group.as_ref().unwrap_or(&Group::Number(0));
            let text = text(&value, "regex")?;
            return if self.all { Ok(all_matches(&regex.0, group, text)) } else { first_match(&regex.0, group, text) };
        }
        if let Some(split) = &self.split {
            return Ok(text(&value, "split")?.split(split.as_str()).map(Value::from).collect());
        }
        if let Some(join) = &self.join {
            let Value::Array(items) = value else {
                return refuse(format!("join takes a list, but there is {}", described(&value)));
            };
            let texts: Vec<String> = items.into_iter().map(as_text).collect();
            return Ok(texts.join(join.as_str()).into());
        }
        if self.json {
            let text = text(&value, "json")?;
            return serde_json::from_str(text)
                .map_err(|error| TransformError(format!("{} is no JSON: {error}", described(&value))));
        }
        Ok(value)
    }
}

fn refuse<T>(words: String) -> Result<T, TransformError> {
    Err(TransformError(words))
}

fn pointed(pointer: &str, value: &Value) -> Result<Value, TransformError> {
    if let Some(found) = value.pointer(pointer) {
        return Ok(found.clone());
    }
    let (mut value, mut way) = (value, String::new());
    for part in pointer.split('/').skip(1) {
        let next = format!("{way}/{part}");
        let name = part.replace("~1", "/").replace("~0", "~");
        let Some(found) = value.pointer(&format!("/{part}")) else {
            let place = if way.is_empty() { "the value".to_owned() } else { format!("`{}`", quote(&way)) };
            let meant = value.as_object().and_then(|object| nearest(&name, object.keys().map(String::as_str)));
            let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{}`?", quote(meant)));
            let there = described(value);
            return refuse(format!("`{}` points to nothing: {place} is {there}{meant}", quote(pointer)));
        };
        (value, way) = (found, next);
    }
    refuse(format!("`{}` points to nothing", quote(pointer)))
}

fn first_match(regex: &regex::Regex, group: &Group, text: &str) -> Result<Value, TransformError> {
    let pattern = quote(regex.as_str());
    let Some(captures) = regex.captures(text) else {
        return refuse(format!("`{pattern}` matches nothing in {}", described(&text.into())));
    };
    match of_group(&captures, group) {
        Some(found) => Ok(found.into()),
        None => refuse(format!("`{pattern}` matches, but its group takes no part in it")),
    }
}

/// Of matches in which the group takes no part, an empty text.
fn all_matches(regex: &regex::Regex, group: &Group, text: &str) -> Value {
    regex.captures_iter(text).map(|captures| of_group(&captures, group).unwrap_or_default().to_owned()).collect()
}

fn of_group<'t>(captures: &regex::Captures<'t>, group: &Group) -> Option<&'t str> {
    let found = match group {
        Group::Number(number) => captures.get(*number),
        Group::Name(name) => captures.name(name),
    };
    found.map(|found| found.as_str())
}

fn text<'v>(value: &'v Value, what: &str) -> Result<&'v str, TransformError> {
    value.as_str().ok_or_else(|| TransformError(format!("{what} takes a text, but there is {}", described(value))))
}

fn as_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// What a value is, in a few words.
pub fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.is_empty() => "an empty text".into(),
        Value::String(text) => format!("the text \"{}\"", quote(text)),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(object) if object.is_empty() => "an empty object".into(),
        Value::Object(object) => {
            let keys: Vec<&str> = object.keys().take(MOST_KEYS).map(String::as_str).collect();
            let more = if object.len() > MOST_KEYS { " and more" } else { "" };
            quote_keys(&keys, more)
        }
    }
}

fn quote_keys(keys: &[&str], more: &str) -> String {
    let keys: Vec<String> = keys.iter().map(|key| quote(key)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    format!("an object with {}{more}", listed(&keys))
}

#[cfg(test)]
#[path = "transform_tests.rs"]
mod tests;
