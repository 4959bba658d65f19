//! Types of a file, each with its reading and its JSON Schema from one declaration, so that they cannot differ.
//!
//! The doc comments are what editors show.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use crate::node::FromToml;

/// What a table's schema says of one key.
pub struct Key {
    pub name: &'static str,
    pub description: String,
    pub schema: Schema,
    pub required: bool,
}

impl Key {
    pub fn of<T: FromToml>(
        name: &'static str,
        docs: &[&str],
        has_default: bool,
        generator: &mut SchemaGenerator,
    ) -> Self {
        let required = T::absent().is_none() && !has_default;
        Self { name, description: described(docs), schema: T::schema(generator), required }
    }
}

/// The lines of a doc comment.
pub fn described(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// The schema of a table with these keys and no others.
pub fn table_schema(docs: &[&str], keys: Vec<Key>) -> Schema {
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema =
        json!({ "type": "object", "description": described(docs), "properties": {}, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    for key in keys {
        let mut of_key = key.schema;
        if of_key.get("$ref").is_some() {
            // In the drafts that editors know, nothing may stand beside a reference.
            of_key = json_schema!({ "allOf": [of_key] });
        }
        of_key.insert("description".into(), key.description.into());
        schema["properties"][key.name] = of_key.into();
    }
    schema.try_into().expect("an object is a schema")
}

/// Makes a table's type, its reading and its schema. `as "key"` names the key where it is not the field, `= value` is what
/// stands for it where it is absent.
macro_rules! table {
    ($(#[doc = $doc:literal])+ pub struct $name:ident { $(
        $(#[doc = $field_doc:literal])+ pub $field:ident: $kind:ty $(as $key:literal)? $(= $default:expr)?,
    )+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $kind,)+ }

        impl $name {
            /// Reads the keys of a table that may have others besides.
            pub(crate) fn take(table: &mut crate::node::Table, problems: &mut crate::problem::Problems) -> Option<Self> {
                $(
                    let key = crate::declare::key!($field $(as $key)?);
                    let $field = crate::declare::take!(table, key, problems $(, $default)?);
                )+
                Some(Self { $($field: $field?,)+ })
            }

            pub(crate) fn keys(generator: &mut schemars::SchemaGenerator) -> Vec<crate::declare::Key> {
                vec![$(crate::declare::Key::of::<$kind>(
                    crate::declare::key!($field $(as $key)?),
                    &[$($field_doc),+],
                    crate::declare::is_given!($($default)?),
                    generator,
                )),+]
            }
        }

        impl crate::node::FromToml for $name {
            fn read(node: &crate::node::Node, problems: &mut crate::problem::Problems) -> Option<Self> {
                let mut table = crate::node::Table::of(node, problems)?;
                let read = Self::take(&mut table, problems);
                table.end(problems);
                read
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::declare::table_schema(&[$($doc),+], Self::keys(generator))
            }
        }
    };
}

macro_rules! key {
    ($field:ident as $key:literal) => {
        $key
    };
    ($field:ident) => {
        stringify!($field)
    };
}

macro_rules! take {
    ($table:expr, $key:expr, $problems:expr) => {
        $table.take($key, $problems)
    };
    ($table:expr, $key:expr, $problems:expr, $default:expr) => {
        $table.take_or($key, Some($default), $problems)
    };
}

macro_rules! is_given {
    () => {
        false
    };
    ($default:expr) => {
        true
    };
}

/// Makes a type of some words, its reading and its schema. The first word stands where there is none, if `Default` is
/// derived.
macro_rules! words {
    ($(#[doc = $doc:literal])+ pub enum $name:ident { $(
        $(#[doc = $word_doc:literal])+ $variant:ident = $word:literal,
    )+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $word_doc])+ $variant,)+ }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As a file says it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl crate::node::FromToml for $name {
            fn read(node: &crate::node::Node, problems: &mut crate::problem::Problems) -> Option<Self> {
                crate::node::word(node, &[$(($word, Self::$variant)),+], problems)
            }

            fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::declare::words_schema(&[$(($word, &[$($word_doc),+])),+])
            }
        }
    };
}

pub fn words_schema(words: &[(&str, &[&str])]) -> Schema {
    let each = words.iter().map(|(word, docs)| json!({ "const": word, "description": described(docs) }));
    json_schema!({ "oneOf": each.collect::<Vec<_>>() })
}

pub(crate) use {is_given, key, table, take, words};
