//! JSON schemas: how freely their JSON may be written, and where in one a fault lies.

use llguidance::JsonCompileOptions;
use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use serde_json::{Map, Value};

use super::GrammarError;
use super::words::first_words;

/// White space between the parts of a JSON text, where there is any: a space, or a new line and its indentation.
/// Anything unbounded here would let a model write white space until its tokens run out.
const WHITE_SPACE: &str = r" |\n {0,16}";

/// Where llguidance looks for its own options.
const OPTIONS: &str = "x-guidance";

/// Keywords whose value is a schema, a list of schemas, or schemas by name.
const CONTAINERS: [&str; 9] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "prefixItems",
    "anyOf",
    "oneOf",
    "allOf",
    "$defs",
];

/// Most parts of a schema that are tried in search of a fault.
const TRIES: usize = 200;

/// The grammar of a schema given as text.
pub(super) fn top_level(schema: &str) -> Result<TopLevelGrammar, GrammarError> {
    match serde_json::from_str(schema) {
        Ok(Value::Object(schema)) if schema.contains_key(OPTIONS) => {
            Err(GrammarError(format!("the keyword {OPTIONS} is not for schemas of callers")))
        }
        Ok(Value::Object(schema)) => Ok(with_options(schema)),
        Ok(_) => Err(GrammarError("a schema must be an object".into())),
        Err(error) => Err(GrammarError(format!("the schema is not JSON: {error}"))),
    }
}

fn with_options(schema: Map<String, Value>) -> TopLevelGrammar {
    TopLevelGrammar::from_json_schema(bounded(schema))
}

/// A schema as a part of a Lark grammar.
pub(super) fn lark(schema: Map<String, Value>) -> String {
    format!("%json {}", bounded(schema))
}

fn bounded(schema: Map<String, Value>) -> Value {
    let options = JsonCompileOptions { whitespace_pattern: Some(WHITE_SPACE.into()), ..JsonCompileOptions::default() };
    let mut schema = Value::Object(schema);
    options.apply_to(&mut schema);
    schema
}

/// `words` with a JSON pointer to the smallest part of the schema that fails with the same words on its own.
pub(super) fn with_pointer(schema: &str, words: &str) -> String {
    let Ok(Value::Object(root)) = serde_json::from_str(schema) else { return words.to_owned() };
    let definitions: Map<String, Value> =
        root.iter().filter(|(key, _)| *key == "$defs" || *key == "definitions").map(clone).collect();
    let (mut pointer, mut part, mut tries) = (String::new(), &root, TRIES);
    while let Some((step, smaller)) = parts(part).find(|(_, part)| {
        tries = tries.saturating_sub(1);
        tries > 0 && fault(part, &definitions).as_deref() == Some(words)
    }) {
        pointer.push_str(&step);
        part = smaller;
    }
    if pointer.is_empty() { words.to_owned() } else { format!("{pointer}: {words}") }
}

fn clone((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// The schemas right inside one, each with its step of a pointer.
fn parts(schema: &Map<String, Value>) -> impl Iterator<Item = (String, &Map<String, Value>)> {
    CONTAINERS.iter().filter_map(|key| Some((key, schema.get(*key)?))).flat_map(|(key, value)| match value {
        Value::Array(list) => {
            let steps = list.iter().enumerate().map(|(place, part)| (format!("/{key}/{place}"), part));
            steps.filter_map(object).collect()
        }
        Value::Object(map) if matches!(*key, "properties" | "patternProperties" | "$defs") => {
            let steps = map.iter().map(|(name, part)| (format!("/{key}/{}", escaped(name)), part));
            steps.filter_map(object).collect()
        }
        value => object((format!("/{key}"), value)).into_iter().collect::<Vec<_>>(),
    })
}

fn object((step, part): (String, &Value)) -> Option<(String, &Map<String, Value>)> {
    part.as_object().map(|part| (step, part))
}

/// RFC 6901.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What is wrong with a part, given the definitions that it may refer to.
fn fault(part: &Map<String, Value>, definitions: &Map<String, Value>) -> Option<String> {
    let whole = definitions.iter().chain(part).map(clone).collect();
    let grammar = GrammarInit::Serialized(with_options(whole));
    grammar.to_internal(None, ParserLimits::default()).err().map(|error| first_words(&error.to_string()))
}
