//! How the types of the wire are read of a file.

use std::sync::LazyLock;

use protocol::{GenerationOptions, ModelId, Priority, ProviderId, Tier};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value as Json};
use toml::de::DeValue;

use crate::declare::words_schema;
use crate::node::{FromToml, Node, json, text, word, wrong};
use crate::problem::{Problems, quote, way_out};

/// The words of [`Tier`].
const TIERS: [(&str, Tier); 3] = [("budget", Tier::Budget), ("balanced", Tier::Balanced), ("capable", Tier::Capable)];

impl FromToml for Tier {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        word(node, &TIERS, problems)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        words_schema(&[
            ("budget", &["The cheapest that will do."]),
            ("balanced", &["Between the two."]),
            ("capable", &["The best there is."]),
        ])
    }
}

impl FromToml for Priority {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        word(node, &Self::ALL.map(|priority| (priority.name(), priority)), problems)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        words_schema(&[
            ("background", &["When nothing else is to be done."]),
            ("normal", &["As everybody."]),
            ("interactive", &["Somebody waits for it."]),
        ])
    }
}

impl FromToml for ModelId {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let id = text(node, "must be a text: the id of a model", problems)?;
        if id.trim().is_empty() {
            problems.add(node.span().start, "this must be the id of a model; `talkiectl models` lists them");
        }
        Some(Self(id.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl FromToml for ProviderId {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let id = Self(text(node, "must be a text: the id of a provider", problems)?.to_owned());
        if !id.is_valid() {
            let words = "can be no provider: its id is 1 to 32 lower-case letters, digits, - and _, a letter first; \
                         `talkiectl providers` lists them";
            problems.add(node.span().start, format!("`{}` {words}", quote(&id.0)));
        }
        Some(id)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$" })
    }
}

/// The options that there are.
static OPTIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let schema = schemars::schema_for!(GenerationOptions);
    let properties = schema.get("properties").and_then(Json::as_object);
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
});

impl FromToml for GenerationOptions {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let DeValue::Table(entries) = node.get_ref() else {
            wrong(node, "must be a table", problems);
            return None;
        };
        let known = OPTIONS.iter().map(String::as_str);
        let mut readable = Map::new();
        for (key, value) in entries {
            let name: &str = key.get_ref();
            if !OPTIONS.iter().any(|option| option == name) {
                let way_out = way_out(name, known.clone());
                problems.add(key.span().start, format!("there is no option `{}`{way_out}", quote(name)));
                continue;
            }
            let Some(given) = json(value, problems) else { continue };
            match serde_json::from_value::<Self>(Json::Object([(name.to_owned(), given.clone())].into_iter().collect()))
            {
                Err(error) => problems.add(value.span().start, format!("options.{name}: {error}")),
                Ok(alone) => {
                    if let Some(problem) = alone.problem() {
                        problems.add(value.span().start, problem);
                    }
                    readable.insert(name.to_owned(), given);
                }
            }
        }
        let options: Self = serde_json::from_value(Json::Object(readable)).ok()?;
        if let Some(problem) = options.problem() {
            let key = entries.iter().find(|(key, _)| problem.starts_with(&format!("options.{} ", key.get_ref())));
            problems.add(key.map_or(node.span().start, |(_, value)| value.span().start), problem);
        }
        Some(options)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }
}
