//! The kind that says which programs workflows may run.

use serde_json::{Value as Json, json};
use toml::Value as Toml;

use super::{Kind, Programs};

impl Kind for Programs {
    const EXPECTED: &'static str = "off, or a list of programs: absolute paths, or names that PATH finds";
    const SEPARATOR: Option<&'static str> = Some(",");

    fn of_text(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self(None));
        }
        let named = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(program);
        named.collect::<Option<_>>().map(|names| Self(Some(names)))
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        match value {
            Toml::String(off) => (off == "off").then_some(Self(None)),
            Toml::Array(names) => {
                let names = names.iter().map(|name| program(name.as_str()?));
                names.collect::<Option<_>>().map(|names| Self(Some(names)))
            }
            _ => None,
        }
    }

    fn to_toml(&self) -> Toml {
        match &self.0 {
            None => "off".into(),
            Some(names) => names.iter().map(|name| Toml::from(name.clone())).collect::<Vec<_>>().into(),
        }
    }

    fn schema() -> Json {
        json!({ "oneOf": [
            { "const": "off" },
            { "type": "array", "items": { "type": "string", "pattern": "^(/.+|[^/]+)$" } },
        ] })
    }
}

/// A name, or an absolute path.
fn program(name: &str) -> Option<String> {
    let is_text = !name.is_empty() && !name.contains(char::is_control);
    (is_text && (name.starts_with('/') || !name.contains('/'))).then(|| name.to_owned())
}
