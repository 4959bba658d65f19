//! The metadata of a GGUF file: typed values by key.

use std::collections::HashMap;
use std::io::Read;

use serde_json::Value as Json;

use super::GgufError;
use super::source::Source;

/// Longest key, as the format has it.
const MAX_KEY_BYTES: u64 = 65_535;

/// Most entries; real files have less than a hundred.
const MAX_ENTRIES: u64 = 1 << 16;

/// The values of a header by key.
#[derive(Debug, Default)]
pub struct Metadata(HashMap<String, Value>);

/// What becomes of lists, which only tokenizers need: those of a large vocabulary take tens of megabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// Texts, 32-bit whole numbers and 32-bit floats are there to be asked for.
    Kept,
    /// None is.
    PassedOver,
}

/// One value. Lists of types that nothing asks for are passed over and kept as `Other`.
#[derive(Debug, PartialEq)]
enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Other,
}

impl Metadata {
    pub(super) fn read(source: &mut Source<impl Read>, lists: Lists) -> Result<Self, GgufError> {
        source.at("the number of metadata entries");
        // A key's length, the type and the least of values.
        let count = source.count(8 + 4 + 1)?;
        if count > MAX_ENTRIES {
            return Err(source.damaged(format_args!("is {count}, more than the {MAX_ENTRIES} that are read")));
        }
        let mut values = HashMap::new();
        for number in 1..=count {
            source.at(&format!("metadata entry {number} of {count}"));
            let key = source.text(MAX_KEY_BYTES)?;
            source.within(&key);
            let kind = source.u32()?;
            let value = Value::read(source, kind, lists)?;
            if values.insert(key, value).is_some() {
                return Err(source.damaged("has a key that occurred before"));
            }
        }
        Ok(Self(values))
    }

    /// All keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A whole number that is not negative.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.get(key, "a whole number", |value| match value {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        })
    }

    /// A finite number.
    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.get(key, "a finite number", |value| match value {
            Value::Float(number) if number.is_finite() => Some(*number),
            _ => None,
        })
    }

    /// Yes or no.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.get(key, "true or false", |value| if let Value::Bool(value) = value { Some(*value) } else { None })
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.get(key, "a text", |value| if let Value::Text(text) = value { Some(text.as_str()) } else { None })
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.get(
            key,
            "a list of texts",
            |value| if let Value::Texts(list) = value { Some(list.as_slice()) } else { None },
        )
    }

    /// A list of 32-bit whole numbers.
    pub fn integers(&self, key: &str) -> Result<Option<&[i64]>, GgufError> {
        self.get(key, "a list of whole numbers", |value| {
            if let Value::Integers(list) = value { Some(list.as_slice()) } else { None }
        })
    }

    /// A list of 32-bit floats.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>, GgufError> {
        self.get(
            key,
            "a list of numbers",
            |value| {
                if let Value::Floats(list) = value { Some(list.as_slice()) } else { None }
            },
        )
    }

    /// A number, a truth or a text as JSON has it, null for a float that is none; `None` for lists too.
    pub fn json(&self, key: &str) -> Option<Json> {
        Some(match self.0.get(key)? {
            Value::Unsigned(number) => (*number).into(),
            Value::Signed(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Bool(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Texts(_) | Value::Integers(_) | Value::Floats(_) | Value::Other => return None,
        })
    }

    fn get<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        pick(value).map(Some).ok_or_else(|| GgufError::Damaged(format!("{key} is not {wanted}")))
    }
}

impl Value {
    fn read(source: &mut Source<impl Read>, kind: u32, lists: Lists) -> Result<Self, GgufError> {
        Ok(match kind {
            0 => Self::Unsigned(u8::from_le_bytes(source.array()?).into()),
            1 => Self::Signed(i8::from_le_bytes(source.array()?).into()),
            2 => Self::Unsigned(u16::from_le_bytes(source.array()?).into()),
            3 => Self::Signed(i16::from_le_bytes(source.array()?).into()),
            4 => Self::Unsigned(source.u32()?.into()),
            5 => Self::Signed(i32::from_le_bytes(source.array()?).into()),
            6 => Self::Float(f32::from_le_bytes(source.array()?).into()),
            7 => match source.array::<1>()? {
                [0] => Self::Bool(false),
                [1] => Self::Bool(true),
                [other] => return Err(source.damaged(format_args!("is {other} where true or false must stand"))),
            },
            8 => Self::Text(source.text(u64::MAX)?),
            9 => Self::list(source, lists)?,
            10 => Self::Unsigned(source.u64()?),
            11 => Self::Signed(i64::from_le_bytes(source.array()?)),
            12 => Self::Float(f64::from_le_bytes(source.array()?)),
            other => return Err(source.damaged(format_args!("has the unknown type {other}"))),
        })
    }

    fn list(source: &mut Source<impl Read>, lists: Lists) -> Result<Self, GgufError> {
        let kind = source.u32()?;
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => return Err(source.damaged("is a list of lists, which no key of a model is")),
            other => return Err(source.damaged(format_args!("is a list of the unknown type {other}"))),
        };
        let count = source.count(width)?;
        if kind == 8 && lists == Lists::Kept {
            return (0..count).map(|_| source.text(u64::MAX)).collect::<Result<_, _>>().map(Self::Texts);
        }
        if kind == 8 {
            return (0..count).try_for_each(|_| source.skip_text()).map(|()| Self::Other);
        }
        if lists == Lists::PassedOver || !(4..=6).contains(&kind) {
            source.skip(count * width)?;
            return Ok(Self::Other);
        }
        let bytes = source.bytes(count * width)?;
        let (words, _) = bytes.as_chunks::<4>();
        let words = words.iter().copied();
        Ok(match kind {
            4 => Self::Integers(words.map(|word| u32::from_le_bytes(word).into()).collect()),
            5 => Self::Integers(words.map(|word| i32::from_le_bytes(word).into()).collect()),
            _ => Self::Floats(words.map(f32::from_le_bytes).collect()),
        })
    }
}
